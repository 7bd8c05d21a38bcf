"""The page of a queue: its tasks by state, its groups, its charts."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher

from asynq.dash.views.graphs import GraphsView
from asynq.dash.views.groups import GroupsView
from asynq.dash.views.page import Page, View
from asynq.dash.views.pausing import pause_or_unpause
from asynq.dash.views.queues import rate
from asynq.dash.views.task import TaskPage
from asynq.dash.views.tasks import TasksView
from asynq.dash.widgets.cells import short_count
from asynq.dash.widgets.live_table import LiveTable
from asynq.dash.widgets.tabline import TabLine
from asynq.errors import QueueNotFoundError
from asynq.info import TaskInfo
from asynq.protocol.groups import GroupInfo
from asynq.runtime.short_texts import plural, short_duration, size
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual import events
    from textual.widget import Widget

    from asynq.dash.session import Session
    from asynq.info import QueueInfo

STATES = {
    "pending": "pend",
    "active": "act",
    "scheduled": "sched",
    "retry": "retry",
    "archived": "arch",
    "completed": "done",
}
"""States with a view of their own, and their names on a narrow screen."""
SHORT = STATES | {"groups": "grp", "graphs": "graph"}
"""All views, and their names on a narrow screen."""


class QueuePage(Page):
    """A queue."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear_filter", "Clear filter"),
        Binding("escape,backspace", "back", "Back"),
        Binding("p", "pause", "Pause", show=False),
        *(
            Binding(str(place), f"show('{name}')", f"Show {name}", show=False)
            for place, name in enumerate(SHORT, 1)
        ),
    ]

    def __init__(self, session: Session, queue: str) -> None:
        super().__init__(session)
        self.queue = queue
        self.info: QueueInfo | None = None

    def content(self) -> Iterable[Widget]:
        """The names of the views, and the views."""
        yield TabLine([*SHORT.items()])
        with ContentSwitcher(initial="tasks-view"):
            yield TasksView(self.session, self.queue, id="tasks-view")
            yield GroupsView(self.session, self.queue, id="groups-view")
            yield GraphsView(self.session, self.queue, id="graphs-view")

    @property
    def view(self) -> View:
        """The view that is shown."""
        shown = self.query_one(ContentSwitcher).visible_content
        assert isinstance(shown, View)  # noqa: S101 - all of them are
        return shown

    @property
    def tasks(self) -> TasksView:
        """The view of tasks."""
        return self.query_one(TasksView)

    async def read(self) -> None:
        """Read what is shown, and the memory of the queue, rarely."""
        view = self.view
        try:
            await view.read()
        except QueueNotFoundError:
            self.top(f"← {self.queue}", "this queue no longer exists")
            return
        info = getattr(view, "info", None)
        if info is not None:
            self.info = info
            self.session.watched.add(info, self.session.monotonic())
            self._show()
        await self.session.estimate_memory([self.queue])

    def _show(self) -> None:
        info = self.info
        if info is None or not self.is_attached:
            return
        counts = {name: getattr(info, name) for name in (*STATES, "groups")} | {"graphs": 0}
        self.query_one(TabLine).label(
            {name: _label(name.capitalize(), ": ", count) for name, count in counts.items()},
            {name: _label(SHORT[name], ":", count) for name, count in counts.items()},
        )
        memory = self.session.memory(self.queue)
        per_second = self.session.watched.of(self.queue).rate(self.session.monotonic()) or 0.0
        facts = [
            plural(info.size, "task"),
            f"latency {short_duration(info.latency)}",
            f"{rate(per_second).text}/s",
            *([] if memory is None else [size(memory)]),
        ]
        paused = " (paused)" if info.paused else ""
        self.top(f"← {self.queue}{paused}", " · ".join(facts))

    # --- keys -------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does something."""
        if action == "pause":
            return not self.session.read_only
        return super().check_action(action, parameters)

    def action_back(self) -> None:
        """Go back: from the tasks of a group to the groups, else to the queues."""
        if self.tasks.group is not None and self.view is self.tasks:
            self._switch("groups")
        else:
            self.app.pop_screen()

    def action_show(self, name: str) -> None:
        """Show a view."""
        self.query_one(TabLine).choose(name)

    def action_step(self, by: int) -> None:
        """Show the next view."""
        self.query_one(TabLine).step(by)

    def action_pause(self) -> None:
        """Pause the queue, or end its pause."""
        if self.info is not None:
            pause_or_unpause(self.view, self.info)

    def on_tab_line_changed(self, message: TabLine.Changed) -> None:
        """Show the view that was chosen."""
        self._switch(message.name)

    def _switch(self, name: str, group: str | None = None) -> None:
        switcher = self.query_one(ContentSwitcher)
        tasks = name in STATES or group is not None
        switcher.current = "tasks-view" if tasks else f"{name}-view"
        if tasks:
            self.tasks.show_state(TaskState(name) if group is None else TaskState.AGGREGATING, group)
        focused = self.view.query(LiveTable)
        (focused.first() if focused else self.view).focus()
        self.forget_filter()
        self.session.read_soon()

    def on_live_table_chosen(self, message: LiveTable.Chosen) -> None:
        """Show a task, or the tasks of a group."""
        if isinstance(message.row, TaskInfo):
            self.app.push_screen(TaskPage(self.session, self.queue, message.row.id))
        elif isinstance(message.row, GroupInfo):
            self._switch("groups", message.row.name)

    def on_resize(self, event: events.Resize) -> None:  # noqa: ARG002 - textual's
        """Show longer or shorter names."""
        self._show()


def _label(name: str, between: str, count: int) -> str:
    return f"{name}{between}{short_count(count)}" if count else name
