"""Periodic tasks: schedules that are kept in the broker, and entries of running schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from asynq.dash.model.periodic import Periodic, periodic
from asynq.dash.views.page import View
from asynq.dash.widgets.cells import CellText, cell
from asynq.dash.widgets.columns import Column
from asynq.dash.widgets.dialogs import Keys
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.errors import AsynqError
from asynq.protocol.ops import ListEnqueueEvents
from asynq.runtime.safe_text import escaped, shown
from asynq.runtime.short_texts import at, data, from_now, plural
from asynq.scheduler.schedules import AsyncSchedules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

EVENTS = 15
"""Enqueued tasks that are listed of a schedule."""


class SchedulesView(View):
    """A table of periodic tasks."""

    filter_hint = "a part of the name or the type"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("p", "pause", "Pause"),
        Binding("r", "run_schedule", "Enqueue now"),
    ]

    _filter = ""
    _found: Sequence[Periodic] = ()

    def compose(self) -> ComposeResult:
        """The table, and a line about it."""
        yield LiveTable(
            _COLUMNS, lambda each: (each.stored, each.entry_id), empty="Reading …", id="schedules"
        )
        yield Line(classes="status")

    @property
    def grid(self) -> LiveTable[Periodic]:
        """The table."""
        return self.query_one("#schedules", LiveTable)

    async def read(self) -> None:
        """Read all of them, in four round trips at most."""
        self._found = await periodic(self.session.broker)
        self._show()

    def filter_by(self, text: str) -> None:
        """Show those whose names or types contain the text."""
        self._filter = text.casefold()
        self._show()

    def _show(self) -> None:
        shown_ones = [
            each for each in self._found if self._filter in f"{each.name}\n{each.task_type}".casefold()
        ]
        self.grid.empty = "There are no periodic tasks." if not self._filter else "None matches the filter."
        self.grid.show(shown_ones)
        stored = sum(each.stored for each in shown_ones)
        others = plural(len(shown_ones) - stored, "other periodic task")
        text = f"{plural(stored, 'schedule')} in the broker · {others} of running schedulers"
        self.about(text)

    def on_live_table_chosen(self, message: LiveTable.Chosen) -> None:
        """Show what a periodic task enqueued last."""
        if isinstance(message.row, Periodic):
            self.run_worker(self._history(message.row), group="history", exclusive=True)

    async def _history(self, chosen: Periodic) -> None:
        try:
            operation = ListEnqueueEvents(entry_id=chosen.entry_id, limit=EVENTS)
            listed = await self.session.broker.aexecute(operation)
        except AsynqError as error:
            self.tell(shown(error), wrong=True)
            return
        about = [
            ("schedule", escaped(f"{chosen.spec} {chosen.zone}".strip())),
            ("task", escaped(chosen.task_type)),
            ("payload", data(chosen.payload, 500)),
            ("next run", f"{at(chosen.next_run_at)} {from_now(chosen.next_run_at)}".strip() or "none"),
        ]
        lines = [(from_now(each.enqueued_at), escaped(each.task_id)) for each in listed]
        sections = [("", about), ("Enqueued last", lines or [("", "Nothing yet.")])]
        self.app.push_screen(Keys(shown(chosen.name, 100), sections))

    def action_pause(self) -> None:
        """Pause the schedule of the cursor, or end its pause."""
        if self._changeable() is not None:
            self.run_worker(self._pause(), group="change", exclusive=True)

    def action_run_schedule(self) -> None:
        """Enqueue the task of the schedule of the cursor now."""
        if self._changeable() is not None:
            self.run_worker(self._run(), group="change", exclusive=True)

    def _changeable(self) -> Periodic | None:
        current = self.grid.current
        if current is not None and not current.stored:
            self.tell(
                "This one is part of a scheduler's program. Only schedules in the broker can be changed here."
            )
            return None
        return current

    async def _pause(self) -> None:
        current = self.grid.current
        if current is None:
            return
        if current.paused:
            question, consequence = f"Unpause schedule {current.name!r}?", "It enqueues tasks again."
        else:
            question = f"Pause schedule {current.name!r}?"
            consequence = "It enqueues nothing until it is unpaused. Ticks of this time are never enqueued."
        if await self.confirmed(question, consequence):
            schedules = AsyncSchedules(self.session.broker)
            try:
                await (schedules.unpause if current.paused else schedules.pause)(current.name)
            except AsynqError as error:
                self.tell(shown(error), wrong=True)
            else:
                self.tell(f"Schedule {current.name!r} is {'no longer ' if current.paused else ''}paused.")
            self.session.read_soon()

    async def _run(self) -> None:
        current = self.grid.current
        if current is None:
            return
        question = f"Enqueue a task {current.task_type!r} of schedule {current.name!r} now?"
        if await self.confirmed(question, "Its ticks do not change."):
            try:
                info = await AsyncSchedules(self.session.broker).run(current.name)
            except AsynqError as error:
                self.tell(shown(error), wrong=True)
            else:
                self.tell(f"Task {info.id!r} was enqueued to queue {info.queue!r}.")
            self.session.read_soon()


def _next(each: Periodic) -> CellText:
    return (
        CellText("paused", "retry")
        if each.paused
        else CellText(from_now(each.next_run_at) or "never", "scheduled")
    )


_COLUMNS: list[Column[Periodic]] = [
    Column("name", lambda each: cell(each.name), least=12),
    Column("schedule", lambda each: cell(each.spec), least=10),
    Column("zone", lambda each: cell(each.zone), drop=2),
    Column("type", lambda each: cell(each.task_type), least=10),
    Column("next", _next),
    Column("last", lambda each: CellText(from_now(each.last_run_at) or "not yet")),
    Column("kept in", lambda each: CellText("broker" if each.stored else "scheduler"), drop=3),
    Column("payload", lambda each: cell(data(each.payload, 200), "muted"), least=8, drop=1),
]
