"""Enqueue what follows a task that has succeeded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.client import traces
from asynq.errors import AsynqError, TaskIDConflictError, TaskNotFoundError
from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.followers import (
    FOLLOWERS_HEADER,
    LONGEST_RETENTION,
    PARENT_RETENTION,
    RESULT_HEADER,
    Followers,
    followers_of,
    header_of,
    passed_result,
)
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Arrive, Enqueue, FinishParent
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.followers import Follower
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import Op
    from asynq.runtime.sync_async import BrokerCalls

log = get_logger("asynq.loops")


async def deliver(broker: BrokerCalls, parents: Sequence[StoredTask]) -> list[AsynqError]:
    """Enqueue the followers of parents that TakeParents answered, and let these parents go.

    A copy finds the followers that are enqueued already by their ids. A parent with a follower that is
    refused remains held until its hold ends, and can be taken again then. Returns these errors.

    Raises:
        AsynqError: the broker could not be reached.
    """
    plans = [(parent, *_what_follows(parent)) for parent in parents]
    requests: list[Op[Any]] = [request for _, _, following in plans for request in following]
    causes = [parent.message.headers for parent, _, following in plans for _ in following]
    answers = iter(await _sent(broker, requests, causes) if requests else ())
    refused: list[AsynqError] = []
    finished: list[FinishParent] = []
    for parent, retention, following in plans:
        refusals = [error for request in following if (error := _refusal(parent, request, next(answers)))]
        refused += refusals
        if not refusals:
            finished.append(
                FinishParent(
                    queue=parent.message.queue,
                    task_id=parent.message.id,
                    held_until=parent.due_at,
                    retention=retention * 1000,
                )
            )
    answers = iter(await execute_isolated(broker, finished) if finished else ())
    return refused + [answer for answer in answers if isinstance(answer, AsynqError)]


async def _sent(
    broker: BrokerCalls, requests: Sequence[Op[Any]], causes: Sequence[Mapping[str, str]]
) -> Sequence[Any]:
    with traces.sending(requests, causes=causes) as sent:
        answers = await execute_isolated(broker, sent.requests)
        sent.answered(answers)
        return answers


def _refusal(parent: StoredTask, request: Enqueue | Arrive, answer: object) -> AsynqError | None:
    """Why a follower is not enqueued, or not told. None if it is."""
    parent_id = parent.message.id
    follower_id = request.task_id if isinstance(request, Arrive) else request.message.id
    if isinstance(answer, TaskNotFoundError):
        log.warning("task %r, which waited for %r, is gone", follower_id, parent_id)
    elif isinstance(answer, TaskIDConflictError):
        log.warning(
            "task %r, which follows %r, is not enqueued once more: %s", follower_id, parent_id, answer
        )
    elif isinstance(answer, AsynqError):
        log.error("task %r, which follows %r, is not enqueued: %s", follower_id, parent_id, answer)
        return answer.with_traceback(None)
    return None


def _what_follows(parent: StoredTask) -> tuple[int, list[Enqueue | Arrive]]:
    """The seconds for which the parent is kept afterwards, and the requests for its followers."""
    message = parent.message
    try:
        followers = followers_of(message)
    except DECODE_ERRORS as error:
        log.warning(
            "task %r of queue %r: what follows it is unreadable: %s", message.id, message.queue, error
        )
        followers = None
    if followers is None:
        return LONGEST_RETENTION, []
    result = passed_result(parent.result)
    requests: list[Enqueue | Arrive] = [_request(follower, result) for follower in followers.then]
    if join := followers.join:
        requests.append(
            Arrive(
                queue=join.queue,
                task_id=join.id,
                member=join.member,
                member_queue=message.queue,
                member_id=message.id,
                members=join.members,
                result=result,
            )
        )
    return followers.retention, requests


def _request(follower: Follower, result: str) -> Enqueue:
    headers = {**follower.headers, f"{RESULT_HEADER}0": result}
    if follower.then:
        headers[FOLLOWERS_HEADER] = header_of(Followers(retention=follower.retention, then=follower.then))
    message = TaskMessage(
        id=follower.id,
        type=follower.type,
        queue=follower.queue,
        payload=follower.payload,
        headers=headers,
        max_retry=follower.max_retry,
        timeout=follower.timeout,
        deadline=follower.deadline,
        retention=PARENT_RETENTION if follower.then else follower.retention,
    )
    return Enqueue(
        message=message,
        enqueue_id=follower.id,
        process_at=follower.process_at,
        process_in=follower.process_in,
    )
