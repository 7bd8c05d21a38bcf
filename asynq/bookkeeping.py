"""What every backend has to work out in the same way: times, and what a task's message becomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import evolve

from asynq.message import TaskMessage
from asynq.ops import Archive, Complete, Recover, Requeue, Retry

if TYPE_CHECKING:
    from asynq.ops import Enqueue

UNDECODABLE: Final = "asynq:undecodable"
"""Type of a task that was set aside: its payload is what could not be decoded."""
LAST_INSTANT: Final = (2**63 - 1) // 1000 * 1000
"""The latest whole second, in milliseconds, that 64 bits can hold: later ones count as this."""


def whole_second(instant: int) -> int:
    """The instant rounded up to a whole second: never early, and never beyond LAST_INSTANT."""
    return -(-min(instant, LAST_INSTANT) // 1000) * 1000


def scheduled_for(op: Enqueue, now: int) -> int:
    """The whole second a task has to wait for, 0 when it may run at once."""
    asked = op.process_at if op.process_in is None else now + op.process_in
    return whole_second(asked) if asked is not None and asked > now else 0


def message_after(op: Complete | Retry | Archive | Requeue | Recover, now: int) -> TaskMessage:
    """The message of a task once this operation has ended its run."""
    message = op.lost.message if isinstance(op, Recover) else op.delivery.message
    seconds = now // 1000
    match op:
        case Complete():
            return evolve(message, completed_at=seconds)
        case Retry():
            retried = message.retried + int(op.failure)
            return evolve(message, retried=retried, error=op.error, last_failed_at=seconds)
        case Archive():
            return evolve(message, error=op.error, last_failed_at=seconds)
        case Recover():
            retried = max(message.retried, min(message.retried + 1, message.max_retry))
            return evolve(message, retried=retried, error=op.error, last_failed_at=seconds)
    return message


def set_aside(queue: str, task_id: str, raw: bytes, reason: str, unique_key: str = "") -> TaskMessage:
    """The message for the archive of a task whose own, `raw`, cannot be decoded."""
    return TaskMessage(
        id=task_id,
        type=UNDECODABLE,
        queue=queue,
        payload=raw,
        unique_key=unique_key,
        error=f"set aside: {reason}",
    )
