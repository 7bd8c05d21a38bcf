"""Operations for upkeep: forward due tasks, recover lost ones, purge finished ones, advance sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from asynq.checks import check_one_of
from asynq.protocol.ops.base import MAX_ARCHIVED, MAX_ARCHIVED_AGE, MAX_BATCH, Op

if TYPE_CHECKING:
    from asynq.protocol.message import LostLease

_check_target = check_one_of("pending", "retry", "archived")


class Forwarded(Struct, frozen=True, kw_only=True):
    """Answer of Forward."""

    moved: int
    next_due: int | None
    """Instant at which the next scheduled or retried task is due; None when there is none."""


class Forward(Op[Forwarded], frozen=True, kw_only=True):
    """Move due scheduled and retried tasks to the tail of their queue, or into their group.

    At most `limit` tasks move, in order of their due time, never early, each once; tasks with the same due
    time move in any order. An id whose task is gone is dropped.
    """

    queue: str
    limit: int = MAX_BATCH


class LostLeases(Struct, frozen=True, kw_only=True):
    """Answer of ListLostLeases."""

    leases: tuple[LostLease, ...]
    dropped: int = 0
    """Number of ids without a task that were removed."""
    set_aside: tuple[str, ...] = ()
    """Ids of tasks that could not be decoded, now archived with the reason."""
    next_expiry: int | None = None
    """An instant before which no other lease that the queue has now expires. None when there is no other
    lease, or when the backend does not say."""


class ListLostLeases(Op[LostLeases], frozen=True, kw_only=True):
    """The expired leases, oldest first, at most `limit`.

    A lease that a Go peer wrote counts as expired 30 s after the time it names, which is Go's own tolerance.
    An id whose task is gone is dropped, and a task that cannot be decoded is archived with the reason: one by
    one, without stopping the rest.
    """

    queue: str
    limit: int = MAX_BATCH


class Recover(Op[bool], frozen=True, kw_only=True):
    """Take a task from a lost worker, if its lease is still exactly as it was observed.

    True if this call did it. False, and nothing changed, when the lease was extended, settled or recovered
    since. The loss is recorded with the task. In every case it counts as a retry (at most up to max_retry),
    as processed and as failed, and the error is recorded. pending: at the head of its queue at once; retry:
    due `delay` from now; archived: as Archive.
    """

    lost: LostLease
    to: Literal["pending", "retry", "archived"]
    error: str
    delay: int = 0
    max_size: int = MAX_ARCHIVED
    max_age: int = MAX_ARCHIVED_AGE

    def __post_init__(self) -> None:
        _check_target("to", self.to)


class Adopted(Struct, frozen=True, kw_only=True):
    """Answer of AdoptOrphans."""

    adopted: int
    dropped: int
    cursor: int
    """Where the next call continues; 0 when the end was reached."""


class AdoptOrphans(Op[Adopted], frozen=True, kw_only=True):
    """Give every active task without a lease one that expires `grace` from now, so that recovery finds it.

    Examines up to `limit` active ids from `cursor` on. An id whose task is gone is dropped. The call from
    cursor 0 lists a queue that holds tasks but is not listed, which Go peers can leave behind.
    """

    queue: str
    grace: int
    cursor: int = 0
    limit: int = MAX_BATCH


class PurgeCompleted(Op[int], frozen=True, kw_only=True):
    """Delete completed tasks whose retention has ended, oldest first, at most `limit`; answers the number."""

    queue: str
    limit: int = MAX_BATCH


class TrimArchive(Op[int], frozen=True, kw_only=True):
    """Delete the oldest archived tasks beyond `max_size` or older than `max_age`. Answers their number.

    At most `limit` tasks are deleted, each with its result and the uniqueness lock it owns.
    """

    queue: str
    max_size: int = MAX_ARCHIVED
    max_age: int = MAX_ARCHIVED_AGE
    limit: int = MAX_BATCH


class Advanced(Struct, frozen=True, kw_only=True):
    """Answer of AdvanceSequences."""

    promoted: int
    """Number of tasks that became pending."""
    examined: int
    """Number of sequences that were examined: those with an unfinished task, and those whose last task ended
    otherwise than by this protocol."""
    cursor: str
    """Where the next call continues; "" when the end was reached."""


class AdvanceSequences(Op[Advanced], frozen=True, kw_only=True):
    """Make the next task of each sequence pending whose head is gone or finished.

    Settlements do this themselves. This operation is for heads that ended otherwise: by a Go peer, by damage,
    or in a DeleteQueue that was not finished. Examines up to `limit` sequences of the queue, in the order of
    their names, after the one named by `cursor`.
    """

    queue: str
    cursor: str = ""
    limit: int = MAX_BATCH
