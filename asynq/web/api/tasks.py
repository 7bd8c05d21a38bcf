"""Tasks: lists of them, one with all that is known of it, and the search for one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from asynq.errors import AsynqError
from asynq.info import QueueInfo, TaskInfo
from asynq.inspector.outlook import outlook
from asynq.protocol.ops import GetQueueStats, GetTask
from asynq.task_state import TaskState
from asynq.web.api.endpoint import endpoint
from asynq.web.api.selection import GroupTasks, OneTask, SelectedTasks
from asynq.web.api.shapes import (
    FailedAttempt,
    QueueSnapshot,
    TaskItem,
    failed_attempt,
    queue_snapshot,
    task_item,
    utc_now,
)
from asynq.web.api.task_pages import TaskRange
from asynq.worker.queue_patterns import unserved

if TYPE_CHECKING:
    from asynq.info import FollowerInfo
    from asynq.protocol.presence import ServerInfo, WorkerInfo
    from asynq.web.call import WebCall

MAX_OFFSET = 2**31 - 1
Size = Annotated[int, Meta(ge=1, le=100)]
Page = Annotated[int, Meta(ge=1, le=MAX_OFFSET // 100)]
Offset = Annotated[int, Meta(ge=0, le=MAX_OFFSET)]


class ListedTasks(SelectedTasks, frozen=True, kw_only=True):
    """A page of tasks."""

    size: Size = 20
    page: Page = 1
    """Number of the page, if no offset is given."""
    offset: Offset | None = None
    """Where the page begins: the `next_offset` of the page before."""
    order: Literal["asc", "desc"] = "asc"
    """"asc": next to run, or oldest, first. "desc": from the other end; not for aggregating tasks."""


class ListedGroupTasks(GroupTasks, frozen=True, kw_only=True):
    """A page of the tasks of a group."""

    size: Size = 20
    page: Page = 1
    offset: Offset | None = None


class TaskList(Struct, kw_only=True):
    """A page of tasks."""

    tasks: list[TaskItem]
    stats: QueueSnapshot
    next_offset: int | None
    """Where the next page begins; null if there is none."""
    scanned: int
    """Tasks that were looked at. A page with a filter may have few tasks, or none, and still a next one."""


class SelectedCount(Struct, kw_only=True):
    """How many tasks are selected."""

    count: int
    complete: bool
    """False if there are more tasks than one request looks at: then there may be more of these, too."""
    scanned: int
    """Tasks that were looked at; those that were counted without a look included."""
    total: int | None
    """Tasks of the state; null if only those of one group are asked for."""


class Runner(Struct, kw_only=True):
    """The server that runs a task."""

    server_id: str
    host: str
    pid: int


class Follower(Struct, kw_only=True):
    """A task that is enqueued when another one succeeds."""

    id: str
    queue: str
    type: str
    then: list[Follower]


class Awaited(Struct, kw_only=True):
    """A task that another one waits for."""

    queue: str
    id: str


class TaskDetail(TaskItem, kw_only=True):
    """A task with all that is known of it."""

    headers: dict[str, str]
    retention_seconds: float
    runner: Runner | None
    """Null if no server says that it runs the task."""
    then: list[Follower]
    awaits: list[Awaited]
    failures: list[FailedAttempt]
    """The last attempts that failed, oldest first."""
    outlook: str
    """What happens to it next, and when."""


class FoundByID(Struct, kw_only=True):
    """The tasks of one id."""

    tasks: list[TaskItem]
    """One for each queue that has such a task."""


class TaskID(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An id of a task."""

    task_id: str


@endpoint("GET", "/queues/{queue}/{state}_tasks", asked=ListedTasks, answer=TaskList)
async def list_tasks(call: WebCall, asked: ListedTasks) -> TaskList:
    """Tasks of a queue in one state, page by page.

    With a filter, continue at `next_offset` until it is null.
    """
    stats = await call.web.broker.aexecute(GetQueueStats(queue=asked.queue))
    return await tasks_of(call, asked, queue_snapshot(QueueInfo.of(stats, None), utc_now()))


async def tasks_of(
    call: WebCall, asked: ListedTasks, queue: QueueSnapshot, servers: tuple[ServerInfo, ...] | None = None
) -> TaskList:
    """A page of tasks of a queue whose sizes were read just now, perhaps with the servers."""
    if (asked.group is not None) is not (asked.state is TaskState.AGGREGATING):
        raise ValueError("group must be given for aggregating tasks, and for no others")
    if asked.state is TaskState.AGGREGATING and asked.order == "desc":
        raise ValueError("order must be asc for aggregating tasks")
    tasks = TaskRange(
        broker=call.web.broker,
        queue=asked.queue,
        state=asked.state,
        group=asked.group or "",
        total=None if asked.state is TaskState.AGGREGATING else getattr(queue, asked.state.value),
        newest_first=asked.order == "desc",
    )
    offset = (asked.page - 1) * asked.size if asked.offset is None else asked.offset
    if asked.where is None:
        found = await tasks.page(offset, asked.size)
    else:
        found = await tasks.matching(asked.where, offset, asked.size, call.web.settings.max_scanned)
    if servers is None and asked.state is TaskState.ACTIVE:
        servers = await online_servers(call)
    runs, now = _runs(servers), utc_now()
    return TaskList(
        tasks=[
            task_item(task, call.web.settings.max_listed, now, _run_of(task, runs)[1]) for task in found.tasks
        ],
        stats=queue,
        next_offset=found.next_offset,
        scanned=found.scanned,
    )


@endpoint("GET", "/queues/{queue}/groups/{group}/aggregating_tasks", asked=ListedGroupTasks, answer=TaskList)
async def list_group_tasks(call: WebCall, asked: ListedGroupTasks) -> TaskList:
    """Tasks of a group, page by page."""
    selected = msgspec.structs.asdict(asked.selected)
    listed = ListedTasks(**selected, size=asked.size, page=asked.page, offset=asked.offset)
    return await list_tasks(call, listed)


@endpoint("GET", "/queues/{queue}/{state}_tasks:count", asked=SelectedTasks, answer=SelectedCount)
async def count_tasks(call: WebCall, asked: SelectedTasks) -> SelectedCount:
    """How many tasks a bulk action would change. A filter is counted among the first tasks only."""
    stats = await call.web.broker.aexecute(GetQueueStats(queue=asked.queue))
    of_state: int = getattr(stats, asked.state.value)
    if asked.where is None and asked.group is None:
        return SelectedCount(count=of_state, complete=True, scanned=of_state, total=of_state)
    names = [asked.group or ""]
    if asked.group is None and asked.state is TaskState.AGGREGATING:
        names = [group.name async for group in call.web.inspector.groups(asked.queue)]
    found = SelectedCount(
        count=0, complete=True, scanned=0, total=None if asked.group is not None else of_state
    )
    for name in names:
        tasks = TaskRange(
            broker=call.web.broker, queue=asked.queue, state=asked.state, group=name, total=None
        )
        count, scanned, complete = await tasks.count(
            asked.where, call.web.settings.max_scanned - found.scanned
        )
        found.count += count
        found.scanned += scanned
        if not complete:
            found.complete = False
            break
    return found


@endpoint("GET", "/queues/{queue}/tasks/{task_id}", asked=OneTask, answer=TaskDetail)
async def get_task(call: WebCall, asked: OneTask) -> TaskDetail:
    """One task with all that is known of it. Long values are cut."""
    limit = call.web.settings.max_shown
    task = await call.web.inspector.task(asked.queue, asked.task_id)
    moves = task.state in (TaskState.ACTIVE, TaskState.PENDING)
    servers = await online_servers(call) if moves else None
    server, run = _run_of(task, _runs(servers))
    item = task_item(task, limit, utc_now(), run)
    headers = {name[:limit]: value[:limit] for name, value in task.headers.items()}
    return TaskDetail(
        **msgspec.structs.asdict(item),
        headers=headers,
        retention_seconds=task.retention.total_seconds(),
        runner=None if server is None else Runner(server_id=server.id, host=server.host, pid=server.pid),
        then=_followers(task.then),
        awaits=[Awaited(queue=queue, id=task_id) for queue, task_id in task.awaits],
        failures=[failed_attempt(failure, limit) for failure in task.failures],
        outlook=outlook(
            task,
            server=server,
            paused=await _paused(call, task),
            served=servers is None or not unserved([task.queue], servers),
        ),
    )


@endpoint("GET", "/tasks/{task_id}", asked=TaskID, answer=FoundByID)
async def find_tasks(call: WebCall, asked: TaskID) -> FoundByID:
    """The tasks of this id, in all queues."""
    names = await call.web.inspector.queues()
    looks = [GetTask(queue=name, task_id=asked.task_id) for name in names]
    answers = await call.web.broker.aexecute_many(looks) if looks else []
    now, limit = utc_now(), call.web.settings.max_listed
    found = [TaskInfo.of(answer) for answer in answers if not isinstance(answer, AsynqError)]
    return FoundByID(tasks=[task_item(task, limit, now) for task in found])


async def online_servers(call: WebCall) -> tuple[ServerInfo, ...] | None:
    """The servers that are online; None if the broker does not know them, or does not say."""
    try:
        return await call.web.inspector.servers()
    except AsynqError:
        return None


def _runs(
    servers: tuple[ServerInfo, ...] | None,
) -> dict[tuple[str, str], tuple[ServerInfo, WorkerInfo]]:
    """What the servers run, by queue and id of the task."""
    return {(run.queue, run.task_id): (server, run) for server in servers or () for run in server.workers}


async def _paused(call: WebCall, task: TaskInfo) -> bool:
    """Whether the queue of a task that could run is paused."""
    if task.state is not TaskState.PENDING:
        return False
    try:
        return (await call.web.broker.aexecute(GetQueueStats(queue=task.queue))).paused
    except AsynqError:
        return False


def _run_of(
    task: TaskInfo, runs: dict[tuple[str, str], tuple[ServerInfo, WorkerInfo]]
) -> tuple[ServerInfo, WorkerInfo] | tuple[None, None]:
    """The server that runs a task, and the run, if any server says that it runs it."""
    return runs.get((task.queue, task.id), (None, None))


def _followers(then: tuple[FollowerInfo, ...]) -> list[Follower]:
    return [
        Follower(id=each.id, queue=each.queue, type=each.type, then=_followers(each.then)) for each in then
    ]
