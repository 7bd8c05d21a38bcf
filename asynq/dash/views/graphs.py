"""Throughput, failures and latency over the time watched, and the runs of the last days."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Grid
from textual.widgets import Static

from asynq.dash.model.groups import read_queue
from asynq.dash.model.history import Day, read_history
from asynq.dash.views.page import View
from asynq.dash.widgets.cells import short_count
from asynq.dash.widgets.chart import Chart
from asynq.dash.widgets.colours import colour
from asynq.dash.widgets.line import Line
from asynq.inspector.inspector import AsyncInspector
from asynq.runtime.short_texts import percent, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from asynq.dash.model.series import Series
    from asynq.dash.session import Session
    from asynq.info import QueueInfo

WINDOWS = (60, 300, 900, 3600, 14_400)
"""Seconds that a chart can show."""
HISTORY_INTERVAL = 30.0
"""Seconds after which the runs of the last days are read again."""
DAYS = 30


class GraphsView(View, can_focus=True):
    """Charts of all queues together, or of one.

    Args:
        session: Shared by all pages.
        queue: The queue; None for all together.
    """

    DEFAULT_CSS = """
    GraphsView > Grid { grid-size: 2 2; grid-gutter: 1 1; height: 1fr; padding: 0 1; }
    GraphsView #days { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("w", "window(1)", "Longer time"),
        Binding("W", "window(-1)", "Shorter time", show=False),
    ]

    def __init__(self, session: Session, queue: str | None = None, *, id: str | None = None) -> None:  # noqa: A002 - as textual names it
        super().__init__(session, id=id)
        self.queue = queue
        self.info: QueueInfo | None = None
        self._window: int | None = None
        self._days: Sequence[Day] = ()
        self._days_at = -HISTORY_INTERVAL

    def compose(self) -> ComposeResult:
        """The charts, and a line about them."""
        with Grid():
            yield Chart("Runs per second", _per_second, style="good", id="throughput")
            yield Chart("Failed runs", _share, style="bad", id="failures")
            yield Chart("Latency", _seconds, id="latency")
            yield Static(id="days")
        yield Line(classes="status")

    async def read(self) -> None:
        """Read the counters; and the history of the last days, rarely."""
        session = self.session
        inspector = AsyncInspector(session.broker)
        if self.queue is None:
            overview = await inspector.overview()
            session.watched.add_all(overview.queues, session.monotonic())
            names = [info.queue for info in overview.queues]
        else:
            self.info = await read_queue(session.broker, self.queue)
            names = [self.queue]
        if session.monotonic() - self._days_at >= HISTORY_INTERVAL:
            self._days = await read_history(session.broker, names, DAYS)
            self._days_at = session.monotonic()
        self.show()

    @property
    def series(self) -> Series:
        """What is shown."""
        watched = self.session.watched
        return watched.all if self.queue is None else watched.of(self.queue)

    def show(self) -> None:
        """Show what was read."""
        now, window = self.session.monotonic(), float(WINDOWS[self._shown_window()])
        since = f"{short_duration(timedelta(seconds=window))} ago"
        for name, values in (
            ("#throughput", self.series.throughput),
            ("#failures", self.series.failure_rate),
            ("#latency", self.series.latency),
        ):
            chart = self.query_one(name, Chart)
            chart.show(values(now, window, chart.parts), since)
        days = self.query_one("#days", Static)
        days.update(self._days_text(days.size.width, days.size.height))
        whose = "all queues" if self.queue is None else "this queue"
        status = f"The time watched of {whose}. A time in which other views were shown has its mean."
        self.about(status)

    def _days_text(self, width: int, height: int) -> Text:
        """A bar for each day, with its failures."""
        good, bad = colour(self.app, "success"), colour(self.app, "error")
        text = Text("Runs by day (UTC)\n", style="bold", no_wrap=True, end="")
        longest = max((day.processed for day in self._days), default=0)
        room = max(width - 24, 4)
        for day in self._days[: max(height - 1, 0)]:
            full = round(day.processed / longest * room) if longest else 0
            part = round(day.failed / longest * room) if longest else 0
            red = min(max(part, 1), max(full, 1)) if day.failed else 0
            text.append(f"{day.date:%m-%d} {short_count(day.processed):>6} ", style="not bold dim")
            share = percent(day.failed, day.processed) if day.failed else ""
            text.append(f"{share:>6} ", style=f"not bold {bad}")
            text.append("█" * red, style=f"not bold {bad}")
            text.append("█" * (full - red) + "\n", style=f"not bold {good}")
        return text

    def _shown_window(self) -> int:
        """The one that was chosen; until then, the shortest one with all that was watched."""
        if self._window is not None:
            return self._window
        watched = self.series.watched
        return next((place for place, window in enumerate(WINDOWS) if window >= watched), len(WINDOWS) - 1)

    def action_window(self, by: int) -> None:
        """Show a longer time, or a shorter one."""
        self._window = (self._shown_window() + by) % len(WINDOWS)
        self.show()


def _per_second(value: float) -> str:
    return short_count(round(value)) if value >= 10 else f"{value:.1f}"


def _share(value: float) -> str:
    return f"{100 * value:.1f}%"


def _seconds(value: float) -> str:
    return short_duration(timedelta(seconds=value)).replace(" ", "")
