"""The first page: queues, graphs, servers, schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.widgets import ContentSwitcher

from asynq.dash.views.graphs import GraphsView
from asynq.dash.views.page import Page, View
from asynq.dash.views.queue import QueuePage
from asynq.dash.views.queues import QueuesView, rate
from asynq.dash.views.schedules import SchedulesView
from asynq.dash.views.servers import ServersView
from asynq.dash.widgets.live_table import LiveTable
from asynq.dash.widgets.tabline import TabLine
from asynq.info import QueueInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from textual.widget import Widget

VIEWS = {"queues": "Queues", "graphs": "Graphs", "servers": "Servers", "schedules": "Schedules"}


class MainPage(Page):
    """The views of the whole broker."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "clear_filter", "Clear filter"),
        *(
            Binding(str(key), f"show('{name}')", f"Show {name}", show=False)
            for key, name in enumerate(VIEWS, 1)
        ),
    ]

    def content(self) -> Iterable[Widget]:
        """The names of the views, and the views."""
        yield TabLine(list(VIEWS.items()))
        with ContentSwitcher(initial="queues-view"):
            yield QueuesView(self.session, id="queues-view")
            yield GraphsView(self.session, id="graphs-view")
            yield ServersView(self.session, id="servers-view")
            yield SchedulesView(self.session, id="schedules-view")

    @property
    def view(self) -> View:
        """The view that is shown."""
        shown = self.query_one(ContentSwitcher).visible_content
        assert isinstance(shown, View)  # noqa: S101 - all of them are
        return shown

    async def read(self) -> None:
        """Read what is shown."""
        await self.view.read()
        self.show_top()

    def on_mount(self) -> None:
        """Show the broker before anything is read."""
        self.show_top()

    def on_resize(self) -> None:
        """Fit the line at the top."""
        self.show_top()

    def show_top(self) -> None:
        """Show the broker, and how busy it is."""
        overview = self.query_one(QueuesView).overview
        facts = []
        if overview is not None:
            busy = sum(len(server.workers) for server in overview.servers)
            slots = sum(server.concurrency for server in overview.servers)
            per_second = self.session.watched.all.rate(self.session.monotonic())
            facts = [
                f"servers {len(overview.servers)}",
                f"slots {busy}/{slots}",
                f"{rate(per_second or 0.0).text}/s",
            ]
        self.top(f"asynq  {self.session.broker!r}", " · ".join(facts))

    # --- keys -------------------------------------------------------------------------------------------

    def action_show(self, name: str) -> None:
        """Show a view."""
        self.query_one(TabLine).choose(name)

    def action_step(self, by: int) -> None:
        """Show the next view."""
        self.query_one(TabLine).step(by)

    def on_tab_line_changed(self, message: TabLine.Changed) -> None:
        """Show the view that was chosen."""
        self.query_one(ContentSwitcher).current = f"{message.name}-view"
        grids = self.view.query(LiveTable)
        (grids.first() if grids else self.view).focus()
        self.forget_filter()
        self.session.read_soon()

    def on_live_table_chosen(self, message: LiveTable.Chosen) -> None:
        """Show a queue."""
        if isinstance(message.row, QueueInfo):
            self.app.push_screen(QueuePage(self.session, message.row.queue))
