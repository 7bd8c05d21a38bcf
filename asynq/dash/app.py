"""`Dashboard`: reads what is shown again and again, and tells when the broker does not answer."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.dom import NoScreen

from asynq.dash.session import Session
from asynq.dash.views.main import MainPage
from asynq.dash.views.page import Page
from asynq.errors import AsynqError
from asynq.runtime.safe_text import shown
from asynq.runtime.timeouts import timeout

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

THEMES = {"dark": "textual-dark", "light": "textual-light"}
INTERVAL = 1.0
"""Seconds between two refreshes."""
REST = 4.0
"""A refresh is followed by a rest of at least so many times its duration, whatever the interval: a slow
broker spends at most a fifth of its time on a dashboard."""
PATIENCE = 2.0
"""Seconds without an answer after which the user is told."""


class Dashboard(App[None]):
    """The dashboard of a broker.

    Args:
        broker: The broker. It is not closed.
        interval: Seconds between two refreshes.
        read_only: Whether nothing can be changed.
        theme: "dark", "light", or the name of a theme of textual.
    """

    TITLE = "asynq"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("t", "switch_theme", "Light or dark", show=False),
        Binding("q,ctrl+c", "quit", "Quit"),
    ]

    def __init__(
        self, broker: Broker, *, interval: float = INTERVAL, read_only: bool = False, theme: str = "dark"
    ) -> None:
        no_color = "NO_COLOR" in os.environ
        super().__init__(ansi_color=no_color or None)
        self.session = Session(broker=broker, read_only=read_only)
        self.interval = interval
        self.theme = "ansi-dark" if no_color else THEMES.get(theme, theme)
        self.refreshes = 0
        """Refreshes that have ended well."""

    def on_mount(self) -> None:
        """Show the first page, and begin to read."""
        self.push_screen(MainPage(self.session))
        self.run_worker(self._refresh_always(), name="refresh")

    @property
    def page(self) -> Page | None:
        """The page that is shown, perhaps under a dialog."""
        return next((each for each in reversed(self.screen_stack) if isinstance(each, Page)), None)

    async def _refresh_always(self) -> None:
        monotonic = self.session.monotonic
        while True:
            self.session.wanted.clear()
            began = monotonic()
            await self._refresh()
            pause = max(self.interval, REST * (monotonic() - began))
            with suppress(TimeoutError):
                async with timeout(pause):
                    await self.session.wanted.wait()

    async def _refresh(self) -> None:
        page = self.page
        if page is None or not page.is_mounted:
            return
        waiting = self.set_timer(PATIENCE, lambda: self._warn("The broker has not answered yet …"))
        try:
            await page.read()
        except AsynqError as error:
            self._warn(f"{shown(error, 500).rstrip('.')}. Trying again …")
        except (NoMatches, NoScreen):
            if self.is_running and page in self.screen_stack:
                raise  # else it was closed while it was read
        else:
            self._warn("")
            self.refreshes += 1
        finally:
            waiting.stop()

    def _warn(self, text: str) -> None:
        for page in self.screen_stack:
            if isinstance(page, Page):
                page.warn(text)

    def action_switch_theme(self) -> None:
        """Switch between light and dark."""
        light = {"textual-light": "textual-dark", "ansi-light": "ansi-dark", "ansi-dark": "ansi-light"}
        self.theme = light.get(self.theme, "textual-light" if self.current_theme.dark else "textual-dark")
