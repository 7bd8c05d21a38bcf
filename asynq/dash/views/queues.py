"""All queues, one a line."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from asynq.dash.model.query import names_matching
from asynq.dash.views.page import View
from asynq.dash.views.pausing import pause_or_unpause
from asynq.dash.widgets.cells import CellText, cell, short_count, sparkline
from asynq.dash.widgets.columns import Column
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.runtime.safe_text import shown
from asynq.runtime.short_texts import percent, plural, short_duration, size

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from textual.app import ComposeResult

    from asynq.dash.session import Session
    from asynq.info import QueueInfo
    from asynq.inspector.overview import Overview

SPARK = 16
"""Bars of a sparkline: a minute together."""
SHORT_SPARK = 8
"""Those on a narrow screen."""
NARROW = 110
LARGE = 1_000_000
"""Numbers from here on are shown in short."""


class QueuesView(View):
    """A table of the queues."""

    filter_hint = "a part of the queue's name"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("s", "sort(1)", "Sort"),
        Binding("S", "sort(-1)", "Sort by the column before", show=False),
    ]

    def __init__(self, session: Session, *, id: str | None = None) -> None:  # noqa: A002 - as textual names it
        super().__init__(session, id=id)
        self.overview: Overview | None = None
        self._filter = ""
        self._columns = self._all_columns()
        self._orders = self._all_orders()

    def compose(self) -> ComposeResult:
        """The table, and a line about it."""
        yield LiveTable(self._columns, lambda info: info.queue, empty="Reading the queues …", id="queues")
        yield Line(classes="status")

    @property
    def grid(self) -> LiveTable[QueueInfo]:
        """The table."""
        return self.query_one("#queues", LiveTable)

    async def read(self) -> None:
        """Read all queues and servers in two round trips; and the memory of those on the screen, rarely."""
        self.overview = await self.session.inspector.overview()
        self.session.watched.add_all(self.overview.queues, self.session.monotonic())
        self._show()
        if self.grid.shows("memory"):
            await self.session.estimate_memory([info.queue for info in self.grid.visible_rows])
            self.grid.again()

    def filter_by(self, text: str) -> None:
        """Show the queues whose names contain the words."""
        self._filter = text
        self._show()

    def _show(self) -> None:
        if self.overview is None:
            return
        infos = self.overview.queues
        if self._filter:
            names = set(names_matching([info.queue for info in infos], self._filter))
            infos = tuple(info for info in infos if info.queue in names)
        order = self._orders[self.grid.sorted_by]
        self.grid.empty = "No queue matches the filter." if self._filter else "There is no queue yet."
        self.grid.show(sorted(infos, key=order) if order else infos)
        self.about(self._status(infos))

    def _status(self, infos: Sequence[QueueInfo]) -> str:
        assert self.overview is not None  # noqa: S101 - it was read
        parts = [plural(len(infos), "queue"), plural(sum(info.size for info in infos), "task")]
        if self._filter:
            parts[0] = f"{len(infos):,} of {plural(len(self.overview.queues), 'queue')}"
        processed, failed = sum(info.processed for info in infos), sum(info.failed for info in infos)
        parts.append(f"{processed:,} runs today, {percent(failed, processed) or '0%'} failed")
        for queue, error in self.overview.unreadable.items():
            parts.insert(0, f"queue {shown(queue, 60)} cannot be read: {shown(error, 200)}")
        return " · ".join(parts)

    def action_sort(self, by: int) -> None:
        """Sort by another column."""
        names = list(self._orders)
        self.grid.sorted_by = names[(names.index(self.grid.sorted_by) + by) % len(names)]
        self._show()

    def action_pause(self) -> None:
        """Pause the queue of the cursor, or end its pause."""
        if self.grid.current is not None:
            pause_or_unpause(self, self.grid.current)

    # --- columns ----------------------------------------------------------------------------------------

    def _rate(self, info: QueueInfo) -> float:
        return self.session.watched.of(info.queue).rate(self.session.monotonic()) or 0.0

    def _all_orders(self) -> dict[str, Callable[[QueueInfo], float] | None]:
        """By the titles of the columns that can be sorted by; "" is the order of the names."""
        return {
            "": None,
            "size": lambda info: -info.size,
            "pend": lambda info: -info.pending,
            "retry": lambda info: -info.retry,
            "arch": lambda info: -info.archived,
            "latency": lambda info: -info.latency.total_seconds(),
            "/s": lambda info: -self._rate(info),
            "failed": lambda info: -(info.failed / info.processed if info.processed else 0),
        }

    def _all_columns(self) -> list[Column[QueueInfo]]:
        def spark(info: QueueInfo) -> CellText:
            series = self.session.watched.of(info.queue)
            now = self.session.monotonic()
            bars = SHORT_SPARK if self.size.width < NARROW else SPARK
            return CellText(sparkline(series.throughput(now, 60.0, bars)), "active")

        return [
            Column("queue", _name, least=14),
            Column("size", lambda info: number(info.size), right=True, drop=6),
            Column("pend", lambda info: number(info.pending, "pending"), right=True),
            Column("act", lambda info: number(info.active, "active"), right=True),
            Column("sched", lambda info: number(info.scheduled, "scheduled"), right=True, drop=5),
            Column("retry", lambda info: number(info.retry, "retry"), right=True),
            Column("arch", lambda info: number(info.archived, "archived"), right=True),
            Column("aggr", lambda info: number(info.aggregating, "aggregating"), right=True, drop=2),
            Column("done", lambda info: number(info.completed, "completed"), right=True, drop=3),
            Column("latency", _latency, right=True),
            Column("today", lambda info: number(info.processed), right=True, drop=4),
            Column("failed", _failures, right=True, drop=8),
            Column(
                "memory", lambda info: CellText(size(self.session.memory(info.queue))), right=True, drop=1
            ),
            Column("/s", lambda info: rate(self._rate(info)), right=True),
            Column("1 minute", spark, drop=7),
        ]


def _name(info: QueueInfo) -> CellText:
    return cell(f"{info.queue} (paused)", "retry") if info.paused else cell(info.queue)


def _latency(info: QueueInfo) -> CellText:
    return CellText(short_duration(info.latency)) if info.pending else CellText("-", "muted")


def _failures(info: QueueInfo) -> CellText:
    return (
        CellText(percent(info.failed, info.processed), "archived") if info.failed else CellText("-", "muted")
    )


def number(count: int, style: str = "") -> CellText:
    """A number of tasks."""
    return cell(count, style) if count < LARGE else CellText(short_count(count), style)


def rate(per_second: float) -> CellText:
    """A number of runs per second."""
    if not per_second:
        return CellText("0", "muted")
    return CellText(f"{per_second:,.0f}" if per_second >= 10 else f"{per_second:.1f}")
