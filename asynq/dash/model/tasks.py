"""Reads the tasks that are shown: one page of any number, or the next ones that a filter selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.errors import AsynqError
from asynq.info import QueueInfo, TaskInfo
from asynq.instants import instant_of
from asynq.protocol.answers import unwrap
from asynq.protocol.ops import GetQueueStats, GetTask, ListServers, ListTasks, Ping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.inspector.task_filter import TaskFilter
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import Op
    from asynq.protocol.presence import ServerInfo
    from asynq.task_state import TaskState

STEP = 500
"""Tasks that one request of a search reads."""
MAX_LOOKED_AT = 5_000
"""Tasks that one search reads at most. The next page goes on behind them."""


@frozen(kw_only=True)
class TaskPage:
    """Tasks of one state, from a place in their order on."""

    info: QueueInfo
    """The queue, without its memory."""
    tasks: tuple[TaskInfo[Any, Any], ...]
    end: int
    """Where the next page begins."""
    looked_at: int = 0
    """Tasks that were read for a filter."""
    more: bool = False
    """Whether there are tasks behind this page."""


async def read_page(
    broker: Broker, queue: str, state: TaskState, group: str | None, *, start: int, limit: int
) -> TaskPage:
    """The tasks from a place on, in one round trip. QueueNotFoundError."""
    listing = ListTasks(queue=queue, state=state, group=group or "", offset=start, limit=limit)
    info, tasks = await _with_queue(broker, queue, listing)
    end = start + limit
    # A page leaves out what cannot be decoded. The size of a single group is not known here.
    more = len(tasks) == limit if group is not None else end < getattr(info, state.value)
    return TaskPage(info=info, tasks=tuple(map(TaskInfo.of, tasks)), end=end, more=more)


async def search_page(
    broker: Broker,
    queue: str,
    state: TaskState,
    group: str | None,
    *,
    start: int,
    limit: int,
    where: TaskFilter,
) -> TaskPage:
    """The next tasks from a place on that a filter selects, of at most MAX_LOOKED_AT. QueueNotFoundError."""
    now = instant_of(await broker.aexecute(Ping()))
    found: list[TaskInfo[Any, Any]] = []
    place = start
    while True:
        listing = ListTasks(queue=queue, state=state, group=group or "", offset=place, limit=STEP)
        info, tasks = await _with_queue(broker, queue, listing)
        there = place + len(tasks) if group is not None else getattr(info, state.value)
        for stored in tasks:
            place += 1
            task = TaskInfo.of(stored)
            if where.matches(task, now):
                found.append(task)
                if len(found) == limit:
                    break
        else:
            place = place if group is not None else min(place - len(tasks) + STEP, there)
        ended = not tasks if group is not None else place >= there
        if ended or len(found) == limit or place - start >= MAX_LOOKED_AT:
            return TaskPage(info=info, tasks=tuple(found), end=place, looked_at=place - start, more=not ended)


async def _with_queue(broker: Broker, queue: str, op: ListTasks) -> tuple[QueueInfo, Sequence[StoredTask]]:
    operations: list[Op[Any]] = [GetQueueStats(queue=queue), op]
    stats, answer = map(unwrap, await broker.aexecute_many(operations))
    return QueueInfo.of(stats, None), answer


@frozen
class ReadTask:
    """A task, and what its future depends on."""

    task: TaskInfo[Any, Any]
    server: ServerInfo | None
    """The one that runs it, if one says so."""
    paused: bool
    """Whether its queue is."""


async def read_task(broker: Broker, queue: str, task_id: str) -> ReadTask:
    """A task, in one round trip. TaskNotFoundError."""
    operations: list[Op[Any]] = [
        GetTask(queue=queue, task_id=task_id),
        ListServers(),
        GetQueueStats(queue=queue),
    ]
    stored, servers, stats = await broker.aexecute_many(operations)
    task = TaskInfo.of(unwrap(stored))
    found = () if isinstance(servers, AsynqError) else servers
    server = next((each for each in found if any(run.task_id == task_id for run in each.workers)), None)
    return ReadTask(task, server, not isinstance(stats, AsynqError) and stats.paused)
