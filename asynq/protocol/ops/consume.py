"""Operations for consuming: dequeue tasks under a lease, extend the lease, write results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from asynq.protocol.message import Delivery, Lease
from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from collections.abc import Mapping


DEQUEUE_SOFT_LIMIT_BYTES = 4 * 1024 * 1024
"""Soft limit for the payloads in one answer to a Dequeue, in bytes. Once the tasks taken have this many
bytes, a broker may leave the others for the next Dequeue."""


class Dequeue(Op[tuple[Delivery, ...]], frozen=True, kw_only=True):
    """Take up to one task per preference order. Each task taken is active under a lease of its own.

    An order names queues, most preferred first. Its task comes from the head of the first queue of the order
    that is not paused, not empty and below its limit. The answer has fewer tasks than orders, possibly none,
    when the queues hold no more; it may have fewer, but at least one, when the tasks taken have
    DEQUEUE_SOFT_LIMIT_BYTES together. Deliveries from one queue come in queue order; deliveries from several
    queues come in any order.

    A copy with the same token, sent before any of these deliveries is settled, gets the deliveries that the
    token already holds, in any order, and takes no more than are missing.

    An id whose task is gone is dropped. A task that cannot be decoded is archived with the reason. Neither is
    delivered, and neither keeps the other tasks from being delivered.
    """

    orders: tuple[tuple[str, ...], ...]
    """One preference order per wanted task, at most MAX_BATCH."""
    token: str
    """Random, one per call: the fencing token of every lease that this call creates."""
    lease: int
    """Duration of the leases."""
    since: bool = False
    """Whether the deliveries tell since when their tasks were pending. Those that an earlier copy of the call
    took do not, and a task whose field is damaged does not. Otherwise deliveries may tell it all the same."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """The most tasks of a queue that may be active at once, whichever worker took them. A queue that is not
    named has no limit."""


class Extended(Struct, frozen=True, kw_only=True):
    """Answer of ExtendLease."""

    expires_at: int
    cancel: str = ""
    """The cancellation recorded for the task: "archive" or "retry"; "" for none."""


class ExtendLease(Op[Extended], frozen=True, kw_only=True):
    """Extend a lease to at least `duration` from now, never shorten it; a kept lock lasts as long.

    LeaseLostError when the token is not the task's current one; nothing is changed. This operation never
    creates a lease and never touches the lease of another run.
    """

    lease: Lease
    duration: int


class WriteResult(Op[None], frozen=True, kw_only=True):
    """Store progress or a result with an active task. LeaseLostError when the lease is lost."""

    lease: Lease
    result: bytes
