"""Limits: what runs hold and take, so that only so many do something at a time."""

from __future__ import annotations

from attrs import frozen

from asynq.protocol.ops.base import Op

MAX_RATE = 10_000
"""Most tokens a rate limit may have, so that keeping their times stays cheap."""


@frozen(kw_only=True)
class AcquireSlot(Op[bool]):
    """Hold one of `limit` slots of a semaphore for `hold` from now: True if the holder has one.

    Slots whose time has ended are free. A holder that has a slot keeps it, whatever the limit, for at least
    `hold` from now; so a copy sent again, or sent to renew, takes no second one.
    """

    scope: str
    """Name of the semaphore, the same for all queues and servers."""
    holder: str
    limit: int
    hold: int
    """Duration."""


@frozen(kw_only=True)
class ReleaseSlot(Op[bool]):
    """Free the holder's slot; True if it had one."""

    scope: str
    holder: str


@frozen(kw_only=True)
class TakeToken(Op[int]):
    """Take one of the `limit` tokens there are for any span of `per`: 0, or the duration until there is one.

    However the times fall, never more than `limit` tokens were taken within `per`. A copy sent again after a
    lost reply may take a second token: the rate is kept then too.
    """

    scope: str
    """Name of the rate limit, the same for all queues and servers."""
    limit: int
    """At most MAX_RATE."""
    per: int
    """Duration."""
