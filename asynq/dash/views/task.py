"""The page of a task: everything about it, and what happens to it next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from rich.table import Table
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.containers import Container, VerticalScroll
from textual.widgets import Static

from asynq.dash.model.changes import VERBS, Target
from asynq.dash.model.tasks import read_task
from asynq.dash.views.changing import change_tasks
from asynq.dash.views.page import Page, View
from asynq.dash.widgets.colours import STATES, colour
from asynq.errors import QueueNotFoundError, TaskNotFoundError
from asynq.inspector.outlook import outlook
from asynq.runtime.safe_text import escaped, shown_lines
from asynq.runtime.short_texts import at_from_now, from_now, plural, short_duration
from asynq.runtime.shown_data import viewed, views

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from textual import events
    from textual.app import ComposeResult
    from textual.widget import Widget

    from asynq.dash.session import Session
    from asynq.info import FailureInfo, FollowerInfo, TaskInfo

WIDE = 110
"""Columns from which on the payload is beside the details."""


class TaskView(View):
    """The details of a task, and its payload and result."""

    DEFAULT_CSS = """
    TaskView #parts { layout: vertical; height: 1fr; overflow-y: auto; }
    TaskView #details { height: auto; width: 1fr; padding: 0 1; }
    TaskView #data { height: auto; width: 1fr; padding: 0 1; }
    TaskView.-wide #parts { layout: horizontal; overflow: hidden; }
    TaskView.-wide #details { height: 100%; }
    TaskView.-wide #data { height: 100%; border-left: solid $surface-lighten-2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("r", "change('run')", "Run"),
        Binding("a", "change('archive')", "Archive"),
        Binding("d", "change('delete')", "Delete"),
        Binding("c", "change('cancel')", "Cancel"),
        Binding("v", "view", "JSON, text, hex"),
    ]

    def __init__(self, session: Session, queue: str, task_id: str) -> None:
        super().__init__(session)
        self.queue = queue
        self.task_id = task_id
        self.info: TaskInfo[Any, Any] | None = None
        self.gone = False
        self._way = 0

    def compose(self) -> ComposeResult:
        """Details, and data."""
        with Container(id="parts"):
            with VerticalScroll(id="details"):
                yield Static(Text("Reading the task …"), id="facts")
            with VerticalScroll(id="data"):
                yield Static(id="payload")

    async def read(self) -> None:
        """Read the task and its server in one round trip."""
        try:
            found = await read_task(self.session.broker, self.queue, self.task_id)
        except (TaskNotFoundError, QueueNotFoundError):
            self.gone = True
            if self.info is None:
                self.query_one("#facts", Static).update(Text("There is no such task."))
            self.refresh_bindings()
            return
        task = found.task
        moved = self.info is None or self.info.state is not task.state or self.gone
        self.info, self.gone = task, False
        self.query_one("#facts", Static).update(
            self._facts(task, outlook(task, server=found.server, paused=found.paused))
        )
        self.query_one("#payload", Static).update(self._data(task))
        if moved:
            self.refresh_bindings()

    def _facts(self, task: TaskInfo[Any, Any], prospect: str) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False, expand=True, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(overflow="fold", ratio=1)
        state = "active, its worker is lost" if task.orphaned else task.state.value
        table.add_row("state", Text(state, style=colour(self.app, STATES.get(task.state.value, ""))))
        table.add_row("next", Text(escaped(prospect)))
        table.add_row("", "")
        for name, value in _pairs(task):
            if value:
                style = colour(self.app, "text-error") if name == "last error" else ""
                table.add_row(Text(escaped(name[:40])), Text(escaped(value), style=style))
        for failure in reversed(task.failures):
            line = Text(escaped(_attempt(failure)), no_wrap=True, overflow="ellipsis")
            table.add_row(Text(f"attempt {failure.number}"), line)
        return table

    def _data(self, task: TaskInfo[Any, Any]) -> Text:
        text = Text()
        for title, value in (("Payload", task.payload), ("Result", task.result)):
            if value is None or (title == "Result" and not value):
                continue
            ways = views(value)
            way = ways[self._way % len(ways)]
            text.append(f"{title}", style="bold")
            text.append(f"  {plural(len(value), 'byte')}, as {way}\n", style="dim")
            text.append(shown_lines(viewed(value, way)) if value else "(empty)")
            text.append("\n\n")
        return text

    def action_view(self) -> None:
        """Show payload and result in another way."""
        self._way += 1
        if self.info is not None:
            self.query_one("#payload", Static).update(self._data(self.info))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something in this state."""
        if action == "change" and (
            self.info is None or self.gone or self.info.state not in VERBS[str(parameters[0])].states
        ):
            return False
        return super().check_action(action, parameters)

    def action_change(self, verb: str) -> None:
        """Change the task."""
        if self.info is not None:
            target = Target(queue=self.queue, state=self.info.state, ids=(self.task_id,))
            self.run_worker(change_tasks(self, VERBS[verb], target, 1), group="change", exclusive=True)


class TaskPage(Page):
    """A task."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,backspace", "back", "Back")]

    def __init__(self, session: Session, queue: str, task_id: str) -> None:
        super().__init__(session)
        self.queue = queue
        self.task_id = task_id

    def content(self) -> Iterable[Widget]:
        """The view."""
        yield TaskView(self.session, self.queue, self.task_id)

    @property
    def view(self) -> TaskView:
        """The view that is shown."""
        return self.query_one(TaskView)

    async def read(self) -> None:
        """Read the task."""
        await self.view.read()
        state = "" if self.view.info is None else self.view.info.state.value
        if self.view.gone:
            state = "it no longer exists: it has ended, or was deleted"
        self.top(f"← {self.queue} > {self.task_id}", state)

    def on_mount(self) -> None:
        """Keys scroll the details."""
        self.query_one("#details").focus()

    def on_resize(self, event: events.Resize) -> None:
        """Show the parts beside each other if there is room."""
        self.view.set_class(event.size.width >= WIDE, "-wide")

    def action_back(self) -> None:
        """Go back."""
        self.app.pop_screen()


def _pairs(task: TaskInfo[Any, Any]) -> Iterator[tuple[str, str]]:
    yield "id", task.id
    yield "queue", task.queue
    yield "type", task.type
    yield "since", at_from_now(task.since)
    yield "due", at_from_now(task.next_process_at) if task.state.value in ("scheduled", "retry") else ""
    yield "retried", f"{task.retried} of {task.max_retry}"
    yield "last error", task.last_err
    yield "failed", at_from_now(task.last_failed_at)
    yield "completed", at_from_now(task.completed_at)
    yield "timeout", short_duration(task.timeout) if task.timeout else ""
    yield "deadline", at_from_now(task.deadline)
    yield "retention", short_duration(task.retention) if task.retention else ""
    yield "group", task.group
    yield "sequence", task.sequence
    for queue, member in task.awaits:
        yield "waits for", f"{member} of queue {queue}"
    yield from _followers(task.then, "then")
    for name, value in task.headers.items():
        yield f"header {name}", value


def _attempt(failure: FailureInfo) -> str:
    ran = "" if failure.ran_for is None else f", ran {short_duration(failure.ran_for)}"
    return f"{from_now(failure.at)}{ran}, {failure.became.value}: {failure.error}"


def _followers(then: Iterable[FollowerInfo], name: str) -> Iterator[tuple[str, str]]:
    """A line for each task that follows, above those of the tasks that follow it in turn."""
    for follower in then:
        yield name, f"{follower.type} {follower.id} of queue {follower.queue}"
        yield from _followers(follower.then, f"{name} then")
