"""Operations of semaphores and rate limits: acquire and release slots, take tokens."""

from __future__ import annotations

from asynq.protocol.ops.base import Op

MAX_RATE = 10_000
"""The most tokens of one rate limit, so that storing the time of each stays cheap."""


class AcquireSlot(Op[bool], frozen=True, kw_only=True):
    """Hold one of `limit` slots of a semaphore for `hold` from now. True if the holder has a slot.

    A slot whose hold has ended is free. A holder that already has a slot keeps it, whatever the limit, for at
    least `hold` from now. So a copy that is sent again, or sent to renew the slot, takes no second one.
    """

    scope: str
    """Name of the semaphore, shared by all queues and servers."""
    holder: str
    limit: int
    hold: int
    """Duration."""


class ReleaseSlot(Op[bool], frozen=True, kw_only=True):
    """Free the holder's slot. True if it had one."""

    scope: str
    holder: str


class TakeToken(Op[int], frozen=True, kw_only=True):
    """Take one of the `limit` tokens of any span of `per`. Answers 0, or the duration until a token is free.

    Within any span of `per`, at most `limit` tokens are taken. A copy that is sent again after a lost reply
    may take a second token; the rate holds in that case too.
    """

    scope: str
    """Name of the rate limit, shared by all queues and servers."""
    limit: int
    """At most MAX_RATE."""
    per: int
    """Duration."""
