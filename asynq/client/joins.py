"""Tasks and the task that follows all of them: what `Client.enqueue_join` does.

The function is written once, for both clients (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.client import traces
from asynq.client.enqueue import compose, compose_many, list_of, task_info
from asynq.client.followers import NOT_FOLLOWING
from asynq.client.options import NO_OPTIONS
from asynq.client.task import check_task
from asynq.errors import AsynqError
from asynq.protocol.answers import unwrap
from asynq.protocol.followers import (
    FOLLOWERS_HEADER,
    MAX_MEMBERS,
    PARENT_RETENTION,
    Followers,
    Join,
    followers_of,
    header_of,
    members_header,
)
from asynq.protocol.ops import DeleteTask
from asynq.protocol.sequences import MEMBERS_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from asynq.client.task import Task
    from asynq.info import TaskInfo
    from asynq.protocol.broker import Capabilities
    from asynq.protocol.ops import Enqueue
    from asynq.runtime.sync_async import BrokerCalls

_NOT_JOINING = ("process_at", "process_in", "sequence")


async def enqueue_join(
    broker: BrokerCalls,
    capabilities: Capabilities,
    new_id: Callable[[], str],
    tasks: Iterable[Task[Any, Any]],
    then: Task[Any, Any],
) -> TaskInfo[Any, Any]:
    """Enqueue tasks, and a task that follows all of them. Returns the latter. See `Client.enqueue_join`."""
    members = list_of(tasks)
    if not 0 < len(members) <= MAX_MEMBERS:
        raise ValueError(f"tasks: from 1 to {MAX_MEMBERS}, not {len(members)}")
    for position, member in enumerate(members):
        check_task(member)
        _check(f"tasks[{position}]: a task of a join", member, (*NOT_FOLLOWING, "task_id"))
    check_task(then)
    _check("then: a task that follows several", then, (*NOT_FOLLOWING, *_NOT_JOINING))
    requests = compose_many(members, NO_OPTIONS, new_id)
    last = _waiting(compose(then, NO_OPTIONS, new_id), requests)
    requests = [_member(request, last, place, len(requests)) for place, request in enumerate(requests)]
    for request in (last, *requests):
        if refused := capabilities.refusal(request):
            raise refused
    with traces.sending((last, *requests), batch=True) as sent:
        last, *requests = sent.requests
        answer = await broker.execute(last)
        try:
            answers = await broker.execute_many(requests)
            unwrap(next((each for each in answers if isinstance(each, AsynqError)), None))
        except BaseException:
            with suppress(AsynqError):
                await broker.execute(DeleteTask(queue=last.message.queue, task_id=last.message.id))
            raise
    return task_info(then, last, answer)


def _check(what: str, task: Task[Any, Any], refused: tuple[str, ...]) -> None:
    for name in refused:
        if name in vars(task.options):
            raise ValueError(f"{what} cannot have {name}")


def _waiting(request: Enqueue, members: list[Enqueue]) -> Enqueue:
    """The request for a task that waits for these."""
    message = request.message
    ids = [(each.message.queue, each.message.id) for each in members]
    headers = {**message.headers, MEMBERS_HEADER: members_header(ids)}
    return replace(request, message=replace(message, headers=headers))


def _member(request: Enqueue, last: Enqueue, place: int, count: int) -> Enqueue:
    """The request for a task for which the last one waits."""
    message = request.message
    followers = followers_of(message) or Followers(retention=message.retention)
    join = Join(queue=last.message.queue, id=last.message.id, member=place, members=count)
    headers = {**message.headers, FOLLOWERS_HEADER: header_of(replace(followers, join=join))}
    return replace(request, message=replace(message, headers=headers, retention=PARENT_RETENTION))
