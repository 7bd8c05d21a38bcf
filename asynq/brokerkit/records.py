"""Records for backends that store each task, queue and lock as one value under a key.

This module does not depend on a store. A backend decides on keys, on how records are found in order, and on
transactions. It stores records as `encode` returns them, or field by field. The `rank` of a task is its
position within its state: the instant that belongs to the state or, for pending tasks, a number that
`QueueRecord` provides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from msgspec import Struct, field, msgpack, structs

from asynq.brokerkit.transitions import RunEnding, end_of, scheduled_for, set_aside, whole_second
from asynq.errors import QueueNotFoundError
from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask, TaskMessage
from asynq.protocol.ops import Complete, Enqueued, Recover
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from asynq.protocol.ops import Enqueue

DAY_MS: Final = 24 * 3600 * 1000
DUE_LISTING: Final = "due"
"""Name of the listing of the scheduled and retried tasks of a queue."""


class TaskRecord(Struct, frozen=True, omit_defaults=True):
    """A task. Its message is encoded separately, so that damage to it leaves the rest readable."""

    queue: str
    id: str
    enqueue_id: str
    unique_key: str
    body: bytes
    """The encoded message; see `message`."""
    state: TaskState
    rank: int
    pending_since: int = 0
    """Unix milliseconds, of a pending task, and of an active one before its lease is extended."""
    token: str = ""
    """Token of its lease or, after the run, of its settlement: by it a repeated settlement is recognized."""
    lease_losses: int = 0
    result: bytes | None = None

    @classmethod
    def of(cls, op: Enqueue, tail: int, now: int) -> TaskRecord:
        """Return the task that an Enqueue creates: scheduled, or pending at the rank `tail`."""
        message, due = op.message, scheduled_for(op, now)
        return cls(
            queue=message.queue,
            id=message.id,
            enqueue_id=op.enqueue_id,
            unique_key=message.unique_key,
            body=encode(message),
            state=TaskState.SCHEDULED if due else TaskState.PENDING,
            rank=due or tail,
            pending_since=0 if due else now,
        )

    @property
    def answer(self) -> Enqueued:
        """The answer to the Enqueue that created this task, also if it is sent again."""
        return Enqueued(state=self.state, due_at=self.pending_since or self.rank)

    @property
    def finished(self) -> bool:
        """Whether the task has ended: another may replace it, and acquire a lock that it kept."""
        return self.state in (TaskState.ARCHIVED, TaskState.COMPLETED)

    @property
    def waiting(self) -> bool:
        """Whether the task has not run yet: one that replaces its duplicates deletes it."""
        return self.state in (TaskState.SCHEDULED, TaskState.PENDING)

    @property
    def observed(self) -> str:
        """The lease as recovery observes it, and compares it later."""
        return f"{self.rank} {self.token}"

    def listings(self) -> Iterator[tuple[str, ...]]:
        """Yield the listings in which a backend must find the task, each in the order of ranks.

        These are the tasks of a queue in one state, those that wait until they are due, and the tasks of one
        lease.
        """
        yield self.queue, self.state
        if self.state in (TaskState.SCHEDULED, TaskState.RETRY):
            yield self.queue, DUE_LISTING
        if self.state is TaskState.ACTIVE:
            yield (self.token,)

    def message(self) -> TaskMessage | None:
        """Return the message; None if it cannot be decoded."""
        try:
            return decode(TaskMessage, self.body)
        except DECODE_ERRORS:
            return None

    def delivery(self, now: int) -> Delivery | None:
        """Return the delivery of an active task; None if its message cannot be decoded."""
        if (message := self.message()) is None:
            return None
        return Delivery(
            message=message,
            token=self.token,
            expires_at=self.rank,
            lease_losses=self.lease_losses,
            delivered_at=now,
            pending_since=self.pending_since,
        )

    def lost(self) -> LostLease | None:
        """Return the lost lease of an active task; None if its message cannot be decoded."""
        if (message := self.message()) is None:
            return None
        return LostLease(message=message, observed=self.observed, lease_losses=self.lease_losses)

    def stored(self, now: int) -> StoredTask | None:
        """Return the task as inspectors see it; None if its message cannot be decoded."""
        if (message := self.message()) is None:
            return None
        return StoredTask(
            message=message,
            state=self.state,
            due_at=0 if self.state is TaskState.PENDING else self.rank,
            result=self.result,
            pending_since=self.pending_since if self.state is TaskState.PENDING else 0,
            orphaned=self.state is TaskState.ACTIVE and self.rank <= now,
        )

    def moved(self, state: TaskState, rank: int, now: int, token: str = "", **changes: Any) -> TaskRecord:
        """Return the task in another state. Without a token, it has no lease and no known settlement."""
        taken = self.state is TaskState.PENDING and state is TaskState.ACTIVE
        since = now if state is TaskState.PENDING else self.pending_since if taken else 0
        return structs.replace(self, state=state, rank=rank, token=token, pending_since=since, **changes)

    def ended(self, op: RunEnding, head: int, now: int) -> TaskRecord:
        """Return the task after the end of its run. `head` is a rank before all pending tasks."""
        end = end_of(op, now)
        result = op.result if isinstance(op, Complete) and op.result is not None else self.result
        lost = isinstance(op, Recover)
        return self.moved(
            end.state,
            end.due_at or head,
            now,
            token="" if isinstance(op, Recover) else op.delivery.token,
            body=encode(end.message),
            lease_losses=self.lease_losses + lost,
            result=result,
        )

    def set_aside(self, now: int) -> TaskRecord:
        """Return the task in the archive, with its undecodable data as payload."""
        aside = set_aside(self.queue, self.id, self.body, _fault(self.body), self.unique_key)
        return self.moved(TaskState.ARCHIVED, whole_second(now), now, body=encode(aside))


class LockRecord(Struct, frozen=True, omit_defaults=True):
    """A uniqueness lock, and the task that holds it."""

    name: str
    queue: str
    task_id: str
    expires_at: int
    until: Literal["done", "expiry", "start"] = "done"
    keep: bool = False

    @classmethod
    def of(cls, op: Enqueue, now: int) -> LockRecord:
        """Return the lock that an Enqueue asks for."""
        if (unique := op.unique) is None:
            raise ValueError("this Enqueue asks for no lock")
        message, begins = op.message, scheduled_for(op, now) or now
        ends = begins + unique.ttl
        return cls(message.unique_key, message.queue, message.id, ends, unique.until, unique.keep)

    def owned_by(self, task: TaskRecord) -> bool:
        """Return whether this task acquired the lock."""
        return (self.queue, self.task_id) == (task.queue, task.id)

    def held(self, owner: TaskRecord | None, now: int) -> bool:
        """Return whether the lock is held: it has not expired or, with `keep`, its task has not ended.

        Args:
            owner: The task that now has the id of the owner, if any.
            now: The present instant.

        """
        if self.expires_at > now:
            return True
        lives = owner is not None and owner.unique_key == self.name and not owner.finished
        return self.keep and lives


class QueueRecord(Struct, omit_defaults=True):
    """A queue: whether it is paused, and its counters."""

    name: str
    paused: bool = False
    ranks: int = 0
    """Number of ranks that have been given to pending tasks."""
    sizes: dict[str, int] = field(default_factory=dict)
    """Number of tasks by state."""
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Numbers of processed and failed runs, on the last day with runs and in total."""

    def size(self, state: TaskState) -> int:
        """Return the number of tasks in this state."""
        return self.sizes.get(state, 0)

    def resize(self, state: TaskState, by: int) -> None:
        """Count tasks that entered this state, or left it."""
        self.sizes[state] = self.size(state) + by

    def tail(self) -> int:
        """Return a rank behind all pending tasks."""
        self.ranks += 1
        return self.ranks

    def head(self) -> int:
        """Return a rank before all pending tasks."""
        return -self.tail()

    def pause(self, *, paused: bool) -> bool:
        """Pause or resume the queue. Returns whether this changed anything."""
        changed, self.paused = self.paused is not paused, paused
        return changed

    def count(self, now: int, *, failed: bool) -> None:
        """Count one run as processed and, if `failed`, as failed: today (UTC) and in total."""
        self.runs = {span: (ended + 1, bad + failed) for span, (ended, bad) in self._runs(now).items()}

    def stats(self, pending: Iterable[TaskRecord], now: int) -> QueueStats:
        """Return the statistics, with the latency of the oldest of these pending tasks.

        Raises:
            QueueNotFoundError: The queue is not listed.

        """
        if not self.listed:
            raise QueueNotFoundError(self.name)
        since = min((task.pending_since for task in pending), default=now)
        (processed, failed), (processed_total, failed_total) = self._runs(now).values()
        return QueueStats(
            queue=self.name,
            **{state.value: self.size(state) for state in TaskState},
            processed=processed,
            failed=failed,
            processed_total=processed_total,
            failed_total=failed_total,
            paused=self.paused,
            latency=max(now - since, 0),
        )

    @property
    def listed(self) -> bool:
        """Whether the queue has ever had a task."""
        return bool(self.sizes)

    def _runs(self, now: int) -> Mapping[str, tuple[int, int]]:
        return {span: self.runs.get(span, (0, 0)) for span in (str(now // DAY_MS), "ever")}


Record = TypeVar("Record", bound=Struct | TaskMessage)

encode = msgpack.encode
"""Encode a record."""


def decode(kind: type[Record], encoded: bytes) -> Record:
    """Decode a record of this kind."""
    return msgpack.decode(encoded, type=kind)


def _fault(body: bytes) -> str:
    try:
        decode(TaskMessage, body)
    except DECODE_ERRORS as error:
        return str(error)
    return "it was considered damaged"
