"""`asynq dash`: a live dashboard in the terminal."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from asynq.cli.arguments import refusal, usage_error
from asynq.cli.session import BrokerURL, connected

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

Interval = Annotated[
    float, typer.Option("--interval", metavar="SECONDS", min=0.2, help="Seconds between two refreshes.")
]
ReadOnly = Annotated[bool, typer.Option("--read-only", help="Change nothing: there are no keys for it.")]
Theme = Annotated[
    str, typer.Option("--theme", metavar="NAME", help="dark, light, or the name of a theme of textual.")
]


def dash(
    *, interval: Interval = 1.0, read_only: ReadOnly = False, theme: Theme = "dark", broker: BrokerURL = None
) -> None:
    """Show everything live, and change it.

    Queues, tasks, servers and schedules, in the terminal. The key ? shows all keys.
    """
    try:
        from textual.theme import BUILTIN_THEMES
    except ModuleNotFoundError as error:
        raise refusal(f"{error.name} is missing: pip install 'asynq-py[dash]'") from None
    if theme not in {"dark", "light", *BUILTIN_THEMES}:
        raise usage_error(f"--theme {theme!r}: use dark, light, or {', '.join(sorted(BUILTIN_THEMES))}")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise refusal("a dashboard needs a terminal; `asynq stats --watch` does not")
    with connected(broker) as made:
        asyncio.run(_run(made, interval, theme, read_only=read_only))


async def _run(broker: Broker, interval: float, theme: str, *, read_only: bool) -> None:
    from asynq.dash.app import Dashboard

    dashboard = Dashboard(broker, interval=interval, read_only=read_only, theme=theme)
    # The default handler would leave the terminal as the dashboard uses it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, dashboard.exit)
    try:
        await dashboard.run_async()
    finally:
        await broker.aclose()
