"""Upkeep: what moves tasks when their time has come, or their worker is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from attrs import field, frozen
from attrs.validators import in_

from asynq.protocol.ops.base import MAX_BATCH, Op

if TYPE_CHECKING:
    from asynq.protocol.message import LostLease


@frozen(kw_only=True)
class Forwarded:
    """Answer of Forward."""

    moved: int
    next_due: int | None
    """Instant at which the next scheduled or retried task is due; None when there is none."""


@frozen(kw_only=True)
class Forward(Op[Forwarded]):
    """Move scheduled and retried tasks that are due to the tail of their queue, or into their group.

    In due order, those of one instant in any, at most `limit` of them, never early, each once. An id whose
    task is gone is dropped.
    """

    queue: str
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class LostLeases:
    """Answer of ListLostLeases."""

    leases: tuple[LostLease, ...]
    dropped: int = 0
    """Ids without a task that were removed."""
    set_aside: tuple[str, ...] = ()
    """Ids of tasks that could not be decoded, now archived with the reason."""


@frozen(kw_only=True)
class ListLostLeases(Op[LostLeases]):
    """The leases that expired, oldest first, at most `limit`.

    A lease a Go peer wrote counts as expired 30 s later than its own word (Go's own tolerance). An id whose
    task is gone is dropped, a task that cannot be decoded is archived with the reason: one by one, never
    stopping the rest.
    """

    queue: str
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class Recover(Op[bool]):
    """Take a task from a lost worker, if its lease is still exactly as it was observed.

    True if this call did it; False, and nothing changed, when the lease was extended, settled or recovered
    since. The loss is noted with the task. In every case a retry is spent (at most up to max_retry), the
    error is recorded, and the loss counts as processed and failed. pending: at the head of its queue at
    once; retry: due `delay` from now; archived: as Archive.
    """

    lost: LostLease
    to: Literal["pending", "retry", "archived"] = field(validator=in_(("pending", "retry", "archived")))
    error: str
    delay: int = 0
    max_size: int = 10_000
    max_age: int = 90 * 24 * 3600 * 1000


@frozen(kw_only=True)
class Adopted:
    """Answer of AdoptOrphans."""

    adopted: int
    dropped: int
    cursor: int
    """Where to go on; 0 when the end was reached."""


@frozen(kw_only=True)
class AdoptOrphans(Op[Adopted]):
    """Give every active task without a lease one that lapses `grace` from now, so that recovery finds it.

    Looks at up to `limit` active ids from `cursor` on. An id whose task is gone is dropped.
    """

    queue: str
    grace: int
    cursor: int = 0
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class PurgeCompleted(Op[int]):
    """Delete completed tasks whose retention has ended, oldest first, at most `limit`; how many."""

    queue: str
    limit: int = MAX_BATCH


@frozen(kw_only=True)
class TrimArchive(Op[int]):
    """Delete the oldest archived tasks beyond `max_size` or older than `max_age`, at most `limit`; how many.

    With a task go its result and the uniqueness lock it owns.
    """

    queue: str
    max_size: int = 10_000
    max_age: int = 90 * 24 * 3600 * 1000
    limit: int = MAX_BATCH
