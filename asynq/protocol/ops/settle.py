"""Settle: each of these ends a run.

All need the current token: otherwise LeaseLostError, and nothing is changed. An expired lease that nobody
has taken still settles. A copy sent again after success answers success where the task's state proves it,
else LeaseLostError: a task that has gone on since, be it by itself, proves nothing. A broker that
sends copies of its own accord, after a lost reply, sets `maybe_applied` in that error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.message import Delivery


@frozen(kw_only=True)
class Done(Op[None]):
    """Delete a finished task, release the lock it owns, count it as processed."""

    delivery: Delivery


@frozen(kw_only=True)
class Complete(Op[None]):
    """Keep a finished task as completed until its retention ends; release its lock, count it processed."""

    delivery: Delivery
    result: bytes | None = None
    """Stored with the task; None leaves what WriteResult stored."""


@frozen(kw_only=True)
class Retry(Op[None]):
    """Move the task to retry, due `delay` from now, with the error; the lock is kept.

    A failure counts as a retry spent, as processed and as failed; otherwise nothing is counted.
    """

    delivery: Delivery
    delay: int
    error: str
    failure: bool = True


@frozen(kw_only=True)
class Archive(Op[None]):
    """Move the task to the archive with the error; the lock is kept; counts as processed and failed.

    The archive then holds at most `max_size` tasks, none older than `max_age` (whole seconds): the oldest
    give way with all that belongs to them, a bounded number per call.
    """

    delivery: Delivery
    error: str
    max_size: int = 10_000
    max_age: int = 90 * 24 * 3600 * 1000


@frozen(kw_only=True)
class Requeue(Op[None]):
    """Put the task back at the head of its queue, pending again; nothing is counted, no retry is spent."""

    delivery: Delivery
