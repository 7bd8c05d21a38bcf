"""Consume: taking tasks under a lease, and keeping it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from asynq.protocol.message import Delivery, Lease
from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from collections.abc import Mapping


DEQUEUE_SOFT_LIMIT_BYTES = 4 * 1024 * 1024
"""Bytes of payloads in the answer to a Dequeue from which on a broker may leave tasks for the next one."""


@frozen(kw_only=True)
class Dequeue(Op[tuple[Delivery, ...]]):
    """Take up to one task per preference order, each now active under a lease of its own.

    An order names queues, most wanted first: its task comes from the head of the first queue of the order
    that is not paused, not empty and below its limit. Fewer tasks than orders, also none, when the queues
    hold no more; fewer, but at least one, also when those taken have
    DEQUEUE_SOFT_LIMIT_BYTES together. Deliveries from one queue come in its order, those from several in any. A
    copy with the same token, sent before any of them is settled, gets the deliveries it already holds, in any order, and takes no more than is missing. An id
    whose task is gone is dropped; a task that cannot be decoded is archived with the reason; neither is
    handed out, nor stops the others.
    """

    orders: tuple[tuple[str, ...], ...]
    """One preference order per wanted task, at most MAX_BATCH."""
    token: str
    """Random, one per call: it fences every lease this call makes."""
    lease: int
    """Duration of the leases."""
    limits: Mapping[str, int] = field(factory=dict, hash=False)
    """Most tasks of a queue that may be active at once, whoever took them; a queue not named has no limit."""


@frozen(kw_only=True)
class Extended:
    """Answer of ExtendLease."""

    expires_at: int
    cancel: str = ""
    """A cancellation recorded for the task: "archive" or "retry", "" for none."""


@frozen(kw_only=True)
class ExtendLease(Op[Extended]):
    """Let a lease last until at least `duration` from now; never shorten it. A kept lock lasts as long.

    LeaseLostError when the token is not the task's current one (nothing is changed): a lease is never
    created, and another run's lease is never touched.
    """

    lease: Lease
    duration: int


@frozen(kw_only=True)
class WriteResult(Op[None]):
    """Store progress or a result with an active task. LeaseLostError when the lease is lost."""

    lease: Lease
    result: bytes
