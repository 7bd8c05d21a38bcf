"""Operations that settle a run: done, complete, retry, archive, requeue.

All of them need the task's current token. Without it they raise LeaseLostError, and nothing is changed. An
expired lease that no other run has taken still settles. A copy that is sent again after success succeeds
where the task's state proves the success, and raises LeaseLostError otherwise: a task that has moved on
since, even by itself, proves nothing. A broker that sends copies on its own after a lost reply sets
`maybe_applied` in that error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops.base import MAX_ARCHIVED, MAX_ARCHIVED_AGE, Op

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery


class Done(Op[None], frozen=True, kw_only=True):
    """Delete a finished task, release the lock it owns and count it as processed."""

    delivery: Delivery


class Complete(Op[None], frozen=True, kw_only=True):
    """Keep a finished task as completed until its retention ends; release its lock, count it as processed."""

    delivery: Delivery
    result: bytes | None = None
    """Stored with the task; None keeps what WriteResult stored."""


class Retry(Op[None], frozen=True, kw_only=True):
    """Move the task to retry, due `delay` from now, with the error. The task keeps its lock.

    A failure counts as a retry, as processed and as failed. Otherwise no counter changes.
    """

    delivery: Delivery
    delay: int
    error: str
    failure: bool = True


class Archive(Op[None], frozen=True, kw_only=True):
    """Move the task to the archive with the error. It keeps its lock and counts as processed and failed.

    The archive then holds at most `max_size` tasks, none older than `max_age` (whole seconds): the oldest are
    deleted with everything that belongs to them, a bounded number per call.
    """

    delivery: Delivery
    error: str
    max_size: int = MAX_ARCHIVED
    max_age: int = MAX_ARCHIVED_AGE


class Requeue(Op[None], frozen=True, kw_only=True):
    """Put the task back at the head of its queue as pending. Counts neither as a retry nor as processed."""

    delivery: Delivery
