"""`Page` and `View`: a full screen of the dashboard, and a part of it that reads what it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import ScrollableContainer, Vertical
from textual.screen import Screen
from textual.widgets import Footer, Static

from asynq.dash.widgets.cells import fitted
from asynq.dash.widgets.dialogs import Confirm, Keys
from asynq.dash.widgets.filter_bar import FilterBar
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.runtime.safe_text import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.app import ComposeResult
    from textual.widget import Widget

    from asynq.dash.session import Session

CHANGES = frozenset({"change", "change_all", "pause", "run_schedule"})
"""Actions that change something: there are none with --read-only."""

_FOCUS = frozenset({"app.focus_next", "app.focus_previous", "screen.copy_text"})
"""Keys that textual adds to every page."""


class View(Vertical):
    """A part of a page that shows one thing, and reads only that."""

    DEFAULT_CSS = """
    View { height: 1fr; }
    View > .status { height: 1; color: $text-muted; background: $surface; padding: 0 1; }
    """

    filter_hint = ""
    """What can be filtered by; "" for nothing."""

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - as textual names it
        super().__init__(id=id)
        self.session = session

    async def read(self) -> None:
        """Read what is shown, and show it. AsynqError."""
        raise NotImplementedError

    def filter_by(self, text: str) -> None:
        """Show only what the text selects."""

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - textual's
        """Whether a key does something."""
        return not (self.session.read_only and action in CHANGES)

    def about(self, text: str) -> None:
        """Show a text in the line about the view. It is safe."""
        self.query_one(".status", Line).show(text)

    async def confirmed(self, question: str, consequence: str) -> bool:
        """Ask the user."""
        answer = await self.app.push_screen_wait(Confirm(question, consequence))
        return answer is True

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Tell the user what was done, or why it was not."""
        self.app.notify(escaped(text), severity="error" if wrong else "information", markup=False)


class Page(Screen[None]):
    """A screen with a line at the top, views, and the keys at the bottom."""

    DEFAULT_CSS = """
    Page { layout: vertical; background: $background; overflow: hidden; }
    Page > ContentSwitcher { height: 1fr; }
    Page > #top { height: 1; background: $primary-darken-2; color: $text; text-style: bold; }
    Page > #top:nocolor { text-style: bold reverse; }
    Page > #banner { height: auto; max-height: 2; display: none; padding: 0 1; }
    Page > #banner { background: $error; color: $text; text-style: bold; }
    Page > #banner.-shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark", "keys", "Keys", key_display="?"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("left", "step(-1)", "View to the left", show=False),
        Binding("right", "step(1)", "View to the right", show=False),
        Binding("ctrl+r", "read", "Read now", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.session = session
        self._trouble = ""

    def compose(self) -> ComposeResult:
        """The lines around the content."""
        yield Line(id="top")
        yield Static(id="banner")
        yield from self.content()
        yield FilterBar("")
        yield Footer(show_command_palette=False, compact=True)

    def content(self) -> Iterable[Widget]:
        """What is between the lines."""
        raise NotImplementedError

    @property
    def view(self) -> View:
        """The view that is shown."""
        raise NotImplementedError

    async def read(self) -> None:
        """Read and show what the page shows. AsynqError."""
        await self.view.read()

    def top(self, left: str, right: str = "") -> None:
        """Show texts in the line at the top. They are safe, and as long as there is room."""
        right = f"{escaped(right)}  READ-ONLY" if self.session.read_only else escaped(right)
        room = max(self.size.width - len(right) - 3, 0)
        self.query_one("#top", Line).show(f" {fitted(escaped(left), room)} {right} ")

    def warn(self, text: str) -> None:
        """Show an error above everything until it is over. "": it is."""
        if text != self._trouble and self.is_mounted:
            self._trouble = text
            banner = self.query_one("#banner", Static)
            banner.update(Text(escaped(text)))
            banner.set_class(bool(text), "-shown")

    # --- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:  # noqa: ARG002 - textual's
        """Whether a key does something."""
        if action == "clear_filter":
            return bool(self.query_one(FilterBar).text)
        return action != "filter" or bool(self.view.filter_hint)

    def action_keys(self) -> None:
        """Show the keys."""
        names: dict[str, list[str]] = {}
        found = [
            each
            for each in self.active_bindings.values()
            if not each.binding.system and not isinstance(each.node, ScrollableContainer)
        ]
        own = [each for each in found if each.node.__class__ is not LiveTable and each.node is not self.app]
        rest = [each for each in found if each not in own]
        for _, binding, enabled, _ in own + rest:
            if enabled and binding.description and binding.action not in _FOCUS:
                names.setdefault(binding.description, []).append(self.app.get_key_display(binding))
        keys = [(" ".join(dict.fromkeys(each)), text) for text, each in names.items()]
        self.app.push_screen(Keys("Keys of this page", [("", keys)]))

    def action_filter(self) -> None:
        """Filter what is shown."""
        bar = self.query_one(FilterBar)
        bar.placeholder = self.view.filter_hint
        bar.open()

    def on_filter_bar_filtered(self, message: FilterBar.Filtered) -> None:
        """Filter by what was typed."""
        self.view.filter_by(message.text)
        self.refresh_bindings()
        self.session.read_soon()

    def action_clear_filter(self) -> None:
        """Filter by nothing again."""
        self.query_one(FilterBar).clear_filter()

    def forget_filter(self) -> None:
        """Filter by nothing: another view is shown."""
        self.query_one(FilterBar).forget()
        self.refresh_bindings()

    def action_step(self, by: int) -> None:
        """Show the next view."""

    def action_read(self) -> None:
        """Read at once."""
        self.session.read_soon()

    def on_screen_resume(self) -> None:
        """Read at once what is shown again."""
        self.session.read_soon()
