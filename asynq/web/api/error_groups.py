"""Tasks by the error that they failed with."""

from __future__ import annotations

import re
from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.protocol.ops import GetQueueStats
from asynq.task_state import TaskState
from asynq.web.api.endpoint import endpoint
from asynq.web.api.task_pages import TaskRange

if TYPE_CHECKING:
    from asynq.info import TaskInfo
    from asynq.web.call import WebCall

MAX_GROUPS = 100
_LONGEST = 300
_VARYING = re.compile(
    r"0x[0-9a-fA-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|(?:\d+\.){3}\d+(?::\d+)?|\d+(?:\.\d+)*"
)
"""Parts of messages that differ from task to task: addresses (with their ports), UUIDs, numbers, versions."""


class FailedTasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tasks of a queue that failed and are archived, or wait to be retried."""

    queue: str
    state: Literal["archived", "retry"]


class ErrorGroup(Struct, kw_only=True):
    """Tasks with errors of the same kind."""

    error: str
    """The error, with "…" for the numbers and addresses in which the errors differ."""
    example: str
    """The latest error."""
    common: str
    """The longest text that the errors share: the filter `error` selects them by it."""
    count: int
    types: dict[str, int]
    """Number of tasks by type."""
    last_failed_at: datetime | None


class ErrorGroups(Struct, kw_only=True):
    """Failed tasks by their errors, most frequent first."""

    groups: list[ErrorGroup]
    scanned: int
    """Tasks that were looked at."""
    complete: bool
    """False if there are more tasks than one request looks at, or more groups than one answer has."""


@endpoint("GET", "/queues/{queue}/{state}_tasks:errors", asked=FailedTasks, answer=ErrorGroups)
async def group_errors(call: WebCall, asked: FailedTasks) -> ErrorGroups:
    """Failed tasks by their errors. Only the latest ones are looked at if there are very many."""
    stats = await call.web.broker.aexecute(GetQueueStats(queue=asked.queue))
    state = TaskState(asked.state)
    total: int = getattr(stats, asked.state)
    tasks = TaskRange(
        broker=call.web.broker, queue=asked.queue, state=state, group="", total=total, newest_first=True
    )
    groups: dict[str, ErrorGroup] = {}
    scanned = 0
    async for _, task in tasks.scan(0, call.web.settings.max_scanned):
        if task is not None:
            _add(groups, task)
            scanned += 1
    ordered = sorted(groups.values(), key=lambda group: -group.count)
    complete = scanned >= total and len(ordered) <= MAX_GROUPS
    return ErrorGroups(groups=ordered[:MAX_GROUPS], scanned=scanned, complete=complete)


def _add(groups: dict[str, ErrorGroup], task: TaskInfo) -> None:
    error = task.last_err[:_LONGEST]
    kind = _VARYING.sub("…", error)
    group = groups.get(kind)
    if group is None:
        common = max(_VARYING.split(error), key=len).strip()
        group = groups[kind] = ErrorGroup(
            error=kind,
            example=error,
            common=common,
            count=0,
            types={},
            last_failed_at=task.last_failed_at,
        )
    group.count += 1
    group.types[task.type] = group.types.get(task.type, 0) + 1
