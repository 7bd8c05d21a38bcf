"""The tasks of a queue in one state, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from textual.binding import Binding, BindingType

from asynq.dash.model.changes import VERBS, Target
from asynq.dash.model.query import HINT, task_filter
from asynq.dash.model.tasks import TaskPage as Tasks
from asynq.dash.model.tasks import read_page, search_page
from asynq.dash.views.changing import change_tasks
from asynq.dash.views.page import View
from asynq.dash.views.task_columns import columns_of
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.runtime.short_texts import plural
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from asynq.dash.session import Session
    from asynq.info import QueueInfo, TaskInfo
    from asynq.inspector.task_filter import TaskFilter


class TasksView(View):
    """A table of tasks. Only those that fit on the screen are read."""

    filter_hint = HINT
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "change('run')", "Run"),
        Binding("a", "change('archive')", "Archive"),
        Binding("d", "change('delete')", "Delete"),
        Binding("c", "change('cancel')", "Cancel"),
        Binding("R", "change_all('run')", "Run all that match", show=False),
        Binding("A", "change_all('archive')", "Archive all that match", show=False),
        Binding("D", "change_all('delete')", "Delete all that match (purge)", show=False),
        Binding("C", "change_all('cancel')", "Cancel all that match", show=False),
        Binding("space", "mark", "Mark"),
        Binding("asterisk", "mark_page", "Mark this page", show=False, key_display="*"),
        Binding("u", "unmark", "Remove all marks", show=False),
    ]

    def __init__(self, session: Session, queue: str, *, id: str | None = None) -> None:  # noqa: A002 - as textual names it
        super().__init__(session, id=id)
        self.queue = queue
        self.state = TaskState.PENDING
        self.group: str | None = None
        self.page: Tasks | None = None
        self._starts = [0]
        self._where: TaskFilter | None = None
        self._filter = ""
        self._wrong = ""
        self._cursor: int | None = None

    def compose(self) -> ComposeResult:
        """The table, and a line about it."""
        yield LiveTable(
            columns_of(self.state), lambda task: task.id, paged=True, empty="Reading the tasks …", id="tasks"
        )
        yield Line(classes="status")

    @property
    def grid(self) -> LiveTable[TaskInfo[Any, Any]]:
        """The table."""
        return self.query_one("#tasks", LiveTable)

    @property
    def info(self) -> QueueInfo | None:
        """The queue as it was read last."""
        return None if self.page is None else self.page.info

    def show_state(self, state: TaskState, group: str | None = None) -> None:
        """Show the tasks of another state."""
        self.state, self.group, self.page = state, group, None
        self._where, self._filter, self._wrong = None, "", ""
        self._starts = [0]
        self.grid.columns = columns_of(state)
        self.grid.empty = "Reading the tasks …"
        self.grid.reset()
        self.refresh_bindings()
        self.session.read_soon()

    async def read(self) -> None:
        """Read a page in one round trip; with a filter, at most some thousand tasks. QueueNotFoundError."""
        state, group, where, starts = self.state, self.group, self._where, self._starts
        broker, room = self.session.broker, self.grid.room
        if where is None:
            page = await read_page(broker, self.queue, state, group, start=starts[-1], limit=room)
        else:
            page = await search_page(
                broker, self.queue, state, group, start=starts[-1], limit=room, where=where
            )
        if (state, group, where, starts) != (self.state, self.group, self._where, self._starts):
            return  # the user has moved on meanwhile
        if not page.tasks and not page.more and len(starts) > 1:
            self._go([*starts[:-1]])  # the tasks of the last pages are gone
            return
        self.page = page
        self._show(page)

    def _show(self, page: Tasks) -> None:
        self.grid.empty = "There are no such tasks." if self._where is None else "No task matches the filter."
        cursor = len(page.tasks) - 1 if self._cursor == -1 else self._cursor
        self._cursor = None
        self.grid.show(page.tasks, cursor=cursor)
        self.about(self._status(page))

    def _status(self, page: Tasks) -> str:
        start = self._starts[-1]
        size = getattr(page.info, self.state.value)
        if self._wrong:
            text = f"The filter is not used: {self._wrong}"
        elif self._where is not None and page.looked_at:
            found = plural(len(page.tasks), "task")
            text = f"{found} selected among {start + 1:,} to {start + page.looked_at:,} of {size:,}"
            text += ". Page down goes on." if page.more else ", to the end."
        elif page.tasks:
            text = f"Tasks {start + 1:,} to {start + len(page.tasks):,}"
            text += f" of {size:,}" if self.group is None else " of this group"
        else:
            text = "No tasks"
        marks = len(self.grid.marks)
        return f"{plural(marks, 'task')} marked · {text}" if marks else text

    def filter_by(self, text: str) -> None:
        """Show the tasks that a filter selects, from the first one on."""
        self._wrong = ""
        try:
            self._where = task_filter(text)
        except ValueError as error:
            self._where, self._wrong = None, str(error)
        self._filter = text
        self._go([0])

    # --- pages ------------------------------------------------------------------------------------------

    def _go(self, starts: list[int], cursor: int = 0) -> None:
        self._starts = starts
        self._cursor = cursor
        self.session.read_soon()

    def on_live_table_turn(self, message: LiveTable.Turn) -> None:
        """Show another page."""
        message.stop()
        page, starts, room = self.page, self._starts, self.grid.room
        if page is None:
            return
        if message.side == "first":
            self._go([0])
        elif message.side == "previous":
            if len(starts) > 1:
                self._go(starts[:-1], cursor=-1)
            elif starts[0]:
                self._go([max(starts[0] - room, 0)], cursor=-1)
            else:
                self.grid.show(page.tasks, cursor=0)
        elif message.side == "last" and self._where is None and self.group is None:
            self._go([max(getattr(page.info, self.state.value) - room, 0)], cursor=-1)
        elif message.side == "next" and page.more:
            self._go([*starts, page.end])
        else:
            self.grid.show(page.tasks, cursor=len(page.tasks) - 1)

    # --- marks and changes ------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something in this state."""
        if action in ("change", "change_all") and self.state not in VERBS[str(parameters[0])].states:
            return False
        return super().check_action(action, parameters)

    def action_mark(self) -> None:
        """Mark a task, or no longer."""
        self.grid.toggle_mark()
        self._marked()

    def action_mark_page(self) -> None:
        """Mark all tasks of the page."""
        self.grid.marks |= {task.id: task for task in self.grid.rows}
        self._marked()

    def action_unmark(self) -> None:
        """Mark no task."""
        self.grid.marks.clear()
        self._marked()

    def _marked(self) -> None:
        self.grid.again()
        if self.page is not None:
            self.about(self._status(self.page))

    def action_change(self, verb: str) -> None:
        """Change the marked tasks, or that of the cursor if there are none."""
        current = self.grid.current
        ids = tuple(map(str, self.grid.marks)) or ((current.id,) if current is not None else ())
        if ids:
            target = Target(queue=self.queue, state=self.state, group=self.group, ids=ids)
            self.run_worker(self._change(verb, target, len(ids)), group="change", exclusive=True)

    def action_change_all(self, verb: str) -> None:
        """Change all tasks of this state that match the filter."""
        if self.page is None:
            return
        target = Target(
            queue=self.queue, state=self.state, group=self.group, where=self._where, filtered_by=self._filter
        )
        counted = self._where is None and self.group is None
        known = getattr(self.page.info, self.state.value) if counted else None
        self.run_worker(self._change(verb, target, known), group="change", exclusive=True)

    async def _change(self, verb: str, target: Target, known: int | None) -> None:
        if await change_tasks(self, VERBS[verb], target, known):
            self.action_unmark()

    def on_resize(self) -> None:
        """Read as many tasks as fit now."""
        self.session.read_soon()
