"""What every backend computes in the same way: due times, and the effect of the end of a run on its task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from attrs import frozen
from msgspec.structs import replace

from asynq.protocol.failures import Failure, headers_with
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Archive, Complete, Recover, Requeue, Retry
from asynq.protocol.sequences import WAITING
from asynq.runtime.logs import get_logger
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.ops import Enqueue

log = get_logger("asynq.broker")

UNDECODABLE: Final = "asynq:undecodable"
"""Type of a task whose message could not be decoded. Its payload contains the undecodable data."""
MAX_INSTANT: Final = (2**63 - 1) // 1000 * 1000
"""The latest whole second that 64 bits can hold, in Unix milliseconds. Later instants are replaced by it."""

RunEnding: TypeAlias = Complete | Retry | Archive | Requeue | Recover
"""Operations that end a run and keep its task."""


def whole_second(instant: int) -> int:
    """Return the instant in milliseconds, rounded up to a whole second and limited to MAX_INSTANT."""
    return -(-min(instant, MAX_INSTANT) // 1000) * 1000


def due_second(instant: int) -> int:
    """Return the whole second from which a scheduled task is due. That of waiting tasks is passed over."""
    second = whole_second(instant)
    return second + 1000 if second == WAITING else second


def scheduled_for(op: Enqueue, now: int) -> int:
    """Return the whole second until which a new task waits, in Unix milliseconds; 0 if it does not wait."""
    asked = op.process_at if op.process_in is None else now + op.process_in
    return due_second(asked) if asked is not None and asked > now else 0


@frozen(kw_only=True)
class RunEnd:
    """The effect of the end of a run on its task, for a backend to store."""

    message: TaskMessage
    state: TaskState
    due_at: int
    """The whole second that belongs to the state, in Unix milliseconds. 0: pending, at the head."""
    counts: bool
    """Whether the run counts as processed."""
    failed: bool
    """Whether it also counts as failed."""


def message_of(op: RunEnding) -> TaskMessage:
    """Return the message of the task as its run had it."""
    return op.lost.message if isinstance(op, Recover) else op.delivery.message


def end_of(op: RunEnding, now: int) -> RunEnd:
    """Return the effect of this operation on its task."""
    message = message_of(op)
    seconds = now // 1000
    match op:
        case Complete():
            until = whole_second(now + message.retention * 1000)
            message = replace(message, completed_at=seconds)
            return RunEnd(message=message, state=TaskState.COMPLETED, due_at=until, counts=True, failed=False)
        case Requeue():
            return RunEnd(message=message, state=TaskState.PENDING, due_at=0, counts=False, failed=False)
        case Retry():
            state, spent, failed = TaskState.RETRY, message.retried + int(op.failure), op.failure
        case Archive():
            state, spent, failed = TaskState.ARCHIVED, message.retried, True
        case Recover():
            spent = max(message.retried, min(message.retried + 1, message.max_retry))
            state, failed = TaskState(op.to), True
    headers = message.headers
    if failed:
        delivered_at = 0 if isinstance(op, Recover) else op.delivery.delivered_at
        failure = Failure(
            number=message.retried + 1,
            at=now,
            to=state,
            error=op.error,
            ran=max(now - delivered_at, 0) if delivered_at else None,
        )
        headers = headers_with(message, failure)
    message = replace(message, headers=headers, retried=spent, error=op.error, last_failed_at=seconds)
    delay = op.delay if isinstance(op, Retry | Recover) and state is TaskState.RETRY else 0
    due_at = 0 if state is TaskState.PENDING else whole_second(now + delay)
    return RunEnd(message=message, state=state, due_at=due_at, counts=failed, failed=failed)


def set_aside(queue: str, task_id: str, raw: bytes, reason: str, unique_key: str = "") -> TaskMessage:
    """Return a message for an archived task whose own message, `raw`, cannot be decoded."""
    return TaskMessage(
        id=task_id,
        type=UNDECODABLE,
        queue=queue,
        payload=raw,
        unique_key=unique_key,
        error=f"set aside: {reason}",
    )


def log_set_aside(queue: str, task_id: str, reason: str) -> None:
    """Log that a task was archived because it cannot be decoded. Otherwise only the archive shows it."""
    log.error("task %r of queue %r cannot be decoded, now archived: %s", task_id, queue, reason)
