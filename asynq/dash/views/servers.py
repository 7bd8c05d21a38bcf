"""The servers that are online, and what they run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from attrs import frozen
from textual.binding import Binding, BindingType

from asynq.dash.model.changes import CANCEL, Target
from asynq.dash.views.changing import change_tasks
from asynq.dash.views.page import View
from asynq.dash.widgets.cells import CellText, cell
from asynq.dash.widgets.columns import Column
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.errors import UnsupportedOperationError
from asynq.runtime.short_texts import data, from_now, plural, short_duration
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from asynq.protocol.presence import ServerInfo, WorkerInfo


@frozen
class Run:
    """A run in progress, and its server."""

    server: ServerInfo
    run: WorkerInfo


class ServersView(View):
    """A table of servers above one of their runs."""

    DEFAULT_CSS = """
    ServersView #servers { height: 2fr; }
    ServersView #runs { height: 3fr; }
    """
    filter_hint = "a part of the host, the queue or the type of the task"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "change('cancel')", "Cancel the run"),
        Binding("tab", "screen.focus_next", "Other table"),
    ]

    _filter = ""
    _servers: Sequence[ServerInfo] = ()

    def compose(self) -> ComposeResult:
        """The tables."""
        yield LiveTable(_SERVER_COLUMNS, lambda each: each.id, empty="Reading the servers …", id="servers")
        yield Line(classes="status")
        yield LiveTable(_RUN_COLUMNS, lambda each: each.run.task_id, id="runs")

    @property
    def runs(self) -> LiveTable[Run]:
        """The table of runs."""
        return self.query_one("#runs", LiveTable)

    async def read(self) -> None:
        """Read all servers with their runs, in one round trip."""
        try:
            servers = await self.session.inspector.servers()
        except UnsupportedOperationError:
            servers = ()
            self.query_one("#servers", LiveTable).empty = "This broker does not know servers."
        else:
            self.query_one("#servers", LiveTable).empty = "No server is online."
        self._servers = sorted(servers, key=lambda each: (each.host, each.pid))
        self._show()

    def filter_by(self, text: str) -> None:
        """Show the servers whose host or queues contain a text, and runs of such a queue or type."""
        self._filter = text.casefold()
        self._show()

    def _show(self) -> None:
        word = self._filter
        servers = [each for each in self._servers if word in f"{each.host}:{each.pid}".casefold()]
        runs = [Run(each, run) for each in self._servers for run in each.workers]
        if word:
            servers = servers or [
                each for each in self._servers if any(word in name.casefold() for name in each.queues)
            ]
            runs = [each for each in runs if any(word in text for text in _texts(each))]
        runs.sort(key=lambda each: each.run.started_at)
        self.query_one("#servers", LiveTable).show(servers)
        slots = sum(each.concurrency for each in self._servers)
        text = (
            f"{plural(len(runs), 'run')} reported on {plural(slots, 'slot')}, the longest first."
            " Servers report every 5 seconds."
        )
        self.about(text)
        self.runs.empty = "No server has reported a run."
        self.runs.show(runs)

    def on_live_table_chosen(self, message: LiveTable.Chosen) -> None:
        """Show the task of a run; of a server, only its runs."""
        if isinstance(message.row, Run):
            from asynq.dash.views.task import TaskPage

            run = message.row.run
            self.app.push_screen(TaskPage(self.session, run.queue, run.task_id))

    def action_change(self, verb: str) -> None:  # noqa: ARG002 - there is one
        """Cancel the run of the cursor."""
        current = self.runs.current
        if current is not None:
            run = current.run
            target = Target(queue=run.queue, state=TaskState.ACTIVE, ids=(run.task_id,))
            self.run_worker(change_tasks(self, CANCEL, target, 1), group="change", exclusive=True)


def _texts(each: Run) -> tuple[str, ...]:
    run = each.run
    return tuple(
        text.casefold()
        for text in (f"{each.server.host}:{each.server.pid}", run.queue, run.task_type, run.task_id)
    )


def _queues(server: ServerInfo) -> CellText:
    ordered = sorted(server.queues.items(), key=lambda item: (-item[1], item[0]))
    strict = " (strict)" if server.strict_priority else ""
    return cell(" ".join(f"{name}={weight}" for name, weight in ordered) + strict)


def _since(run: WorkerInfo) -> str:
    return short_duration(max(datetime.now(UTC) - run.started_at, datetime.resolution))


_SERVER_COLUMNS: list[Column[ServerInfo]] = [
    Column("host", lambda each: cell(each.host), least=10),
    Column("pid", lambda each: CellText(str(each.pid)), right=True),
    Column("state", lambda each: cell(each.status, "active" if each.status == "active" else "retry")),
    Column("running", lambda each: CellText(f"{len(each.workers)}/{each.concurrency}"), right=True),
    Column("started", lambda each: CellText(from_now(each.started_at)), drop=1),
    Column("queues", _queues, least=10),
]
_RUN_COLUMNS: list[Column[Run]] = [
    Column("for", lambda each: CellText(_since(each.run), "active"), right=True),
    Column("type", lambda each: cell(each.run.task_type), least=10),
    Column("queue", lambda each: cell(each.run.queue), least=6),
    Column("id", lambda each: cell(each.run.task_id), least=9, keep="end"),
    Column("deadline", lambda each: CellText(from_now(each.run.deadline)), drop=2),
    Column("server", lambda each: cell(f"{each.server.host}:{each.server.pid}"), least=8, drop=1),
    Column("payload", lambda each: cell(data(each.run.payload, 200), "muted"), least=8, drop=3),
]
