"""The groups of a queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.dash.model.groups import MAX_GROUPS, read_groups
from asynq.dash.views.page import View
from asynq.dash.widgets.cells import CellText, cell
from asynq.dash.widgets.columns import Column
from asynq.dash.widgets.line import Line
from asynq.dash.widgets.live_table import LiveTable
from asynq.instants import duration_of
from asynq.runtime.short_texts import plural, short_duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from textual.app import ComposeResult

    from asynq.dash.session import Session
    from asynq.info import QueueInfo
    from asynq.protocol.groups import GroupInfo


class GroupsView(View):
    """A table of groups. One that is chosen shows its tasks."""

    filter_hint = "a part of the group's name"

    def __init__(self, session: Session, queue: str, *, id: str | None = None) -> None:  # noqa: A002 - as textual names it
        super().__init__(session, id=id)
        self.queue = queue
        self.info: QueueInfo | None = None
        self._filter = ""
        self._groups: Sequence[GroupInfo] = ()

    def compose(self) -> ComposeResult:
        """The table, and a line about it."""
        yield LiveTable(_COLUMNS, lambda each: each.name, empty="Reading the groups …", id="groups")
        yield Line(classes="status")

    async def read(self) -> None:
        """Read the groups, at most MAX_GROUPS of them. QueueNotFoundError."""
        self.info, self._groups = await read_groups(self.session.broker, self.queue)
        self._show()

    def filter_by(self, text: str) -> None:
        """Show the groups whose names contain the text."""
        self._filter = text.casefold()
        self._show()

    def _show(self) -> None:
        grid = self.query_one("#groups", LiveTable)
        found = [each for each in self._groups if self._filter in each.name.casefold()]
        grid.empty = "This queue has no groups." if not self._filter else "None matches the filter."
        grid.show(sorted(found, key=lambda each: each.name))
        text = plural(len(found), "group")
        if len(self._groups) >= MAX_GROUPS:
            text = f"{len(found):,} of the {len(self._groups):,} groups that were read; there are more"
        self.about(text)


_COLUMNS: list[Column[GroupInfo]] = [
    Column("group", lambda each: cell(each.name), least=12),
    Column("tasks", lambda each: cell(each.size, "aggregating"), right=True),
    Column(
        "oldest task", lambda each: CellText(f"{short_duration(duration_of(each.waiting))} ago"), right=True
    ),
    Column(
        "newest task", lambda each: CellText(f"{short_duration(duration_of(each.quiet))} ago"), right=True
    ),
]
