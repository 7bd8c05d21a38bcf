"""Records for a backend that keeps each task, queue and lock as one value: what they hold, what they tell.

Nothing here knows a store. Under which key a record is kept, in which order records are found and what makes
a step atomic is the backend's business; it stores what `encode` makes of a record, or the fields by
themselves. `rank` is where a task stands in its state: the instant that belongs to the state or, in
pending, a number the backend gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from msgspec import DecodeError, Struct, field, msgpack, structs

from asynq.brokerkit.transitions import RunEnding, end_of, scheduled_for, set_aside, whole_second
from asynq.errors import QueueNotFoundError
from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask, TaskMessage
from asynq.protocol.ops import Complete, Enqueued, Recover
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from asynq.protocol.ops import Enqueue

DAY_MS: Final = 24 * 3600 * 1000
DUE_LISTING: Final = "due"
"""The list of a queue's scheduled and retried tasks."""


class TaskRecord(Struct, frozen=True, omit_defaults=True):
    """A task's life. Its message is encoded by itself, so that damage to it leaves the rest readable."""

    queue: str
    id: str
    enqueue_id: str
    unique_key: str
    body: bytes
    """The message; see `message`."""
    state: TaskState
    rank: int
    pending_since: int = 0
    token: str = ""
    """Of its lease; after the run, of the settlement that ended it, which proves a copy of it."""
    lease_losses: int = 0
    result: bytes | None = None

    @classmethod
    def of(cls, op: Enqueue, tail: int, now: int) -> TaskRecord:
        """The task an Enqueue makes: scheduled, or pending at this rank behind all others."""
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
        """What an Enqueue is answered that made this task, or is a copy of the one that did."""
        return Enqueued(state=self.state, due_at=self.pending_since or self.rank)

    @property
    def finished(self) -> bool:
        """True for a task that has ended: another may replace it, and take a lock that it keeps."""
        return self.state in (TaskState.ARCHIVED, TaskState.COMPLETED)

    @property
    def observed(self) -> str:
        """The lease, to be compared again when the task is recovered."""
        return f"{self.rank} {self.token}"

    def listings(self) -> Iterator[tuple[str, ...]]:
        """Names of the lists a backend has to find the task in, each in the order of ranks.

        Of a queue the tasks of one state, and those that wait until they are due; the tasks of one lease.
        """
        yield self.queue, self.state
        if self.state in (TaskState.SCHEDULED, TaskState.RETRY):
            yield self.queue, DUE_LISTING
        if self.state is TaskState.ACTIVE:
            yield (self.token,)

    def message(self) -> TaskMessage | None:
        """The message; None if it cannot be decoded."""
        try:
            return decode(TaskMessage, self.body)
        except DecodeError:
            return None

    def delivery(self, now: int) -> Delivery | None:
        """An active task as it is handed to the holder of its token; None without a message."""
        if (message := self.message()) is None:
            return None
        return Delivery(
            message=message,
            token=self.token,
            expires_at=self.rank,
            lease_losses=self.lease_losses,
            delivered_at=now,
        )

    def lost(self) -> LostLease | None:
        """An active task whose lease has expired, as it is recovered; None without a message."""
        if (message := self.message()) is None:
            return None
        return LostLease(message=message, observed=self.observed, lease_losses=self.lease_losses)

    def stored(self, now: int) -> StoredTask | None:
        """The task as it is shown; None without a message."""
        if (message := self.message()) is None:
            return None
        return StoredTask(
            message=message,
            state=self.state,
            due_at=0 if self.state is TaskState.PENDING else self.rank,
            result=self.result,
            pending_since=self.pending_since,
            orphaned=self.state is TaskState.ACTIVE and self.rank <= now,
        )

    def moved(self, state: TaskState, rank: int, now: int, token: str = "", **changes: Any) -> TaskRecord:
        """The task in another state. Without a token no lease, and no copy of a settlement, is known."""
        since = now if state is TaskState.PENDING else 0
        return structs.replace(self, state=state, rank=rank, token=token, pending_since=since, **changes)

    def ended(self, op: RunEnding, head: int, now: int) -> TaskRecord:
        """The task whose run this operation ends; `head` is the rank before all pending tasks."""
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
        """The task in the archive, with what cannot be decoded as the payload of its message."""
        aside = set_aside(self.queue, self.id, self.body, _fault(self.body), self.unique_key)
        return self.moved(TaskState.ARCHIVED, whole_second(now), now, body=encode(aside))


class LockRecord(Struct, frozen=True, omit_defaults=True):
    """A uniqueness lock, and the task that took it."""

    name: str
    queue: str
    task_id: str
    expires_at: int
    until: Literal["done", "expiry", "start"] = "done"
    keep: bool = False

    @classmethod
    def of(cls, op: Enqueue, now: int) -> LockRecord:
        """The lock an Enqueue asks for."""
        if (unique := op.unique) is None:
            raise ValueError("this Enqueue asks for no lock")
        message, begins = op.message, scheduled_for(op, now) or now
        ends = begins + unique.ttl
        return cls(message.unique_key, message.queue, message.id, ends, unique.until, unique.keep)

    def owned_by(self, task: TaskRecord) -> bool:
        """True if this task took the lock."""
        return (self.queue, self.task_id) == (task.queue, task.id)

    def held(self, owner: TaskRecord | None, now: int) -> bool:
        """True until its time ends or, if it is kept, the task does that has its owner's id now."""
        if self.expires_at > now:
            return True
        lives = owner is not None and owner.unique_key == self.name and not owner.finished
        return self.keep and lives


class QueueRecord(Struct, omit_defaults=True):
    """A queue's switch and its numbers."""

    name: str
    paused: bool = False
    ranks: int = 0
    """How many ranks pending tasks were given."""
    sizes: dict[str, int] = field(default_factory=dict)
    """How many tasks there are, by state."""
    runs: dict[str, tuple[int, int]] = field(default_factory=dict)
    """How many ended and how many failed, on the last day that had any and ever."""

    def size(self, state: TaskState) -> int:
        """How many tasks of the queue are in this state."""
        return self.sizes.get(state, 0)

    def resize(self, state: TaskState, by: int) -> None:
        """Count tasks that came to this state, or left it."""
        self.sizes[state] = self.size(state) + by

    def tail(self) -> int:
        """A rank behind all pending tasks."""
        self.ranks += 1
        return self.ranks

    def head(self) -> int:
        """A rank before all pending tasks."""
        return -self.tail()

    def pause(self, *, paused: bool) -> bool:
        """Let nobody dequeue, or everybody again; True if that was otherwise before."""
        changed, self.paused = self.paused is not paused, paused
        return changed

    def count(self, now: int, *, failed: bool) -> None:
        """Count one run as ended and as failed, today (UTC) and ever."""
        self.runs = {span: (ended + 1, bad + failed) for span, (ended, bad) in self._runs(now).items()}

    def stats(self, pending: Iterable[TaskRecord], now: int) -> QueueStats:
        """The numbers as they are shown, with the latency of the oldest of these pending tasks.

        QueueNotFoundError for a queue that is not listed.
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
        """True once the queue has had a task."""
        return bool(self.sizes)

    def _runs(self, now: int) -> Mapping[str, tuple[int, int]]:
        return {span: self.runs.get(span, (0, 0)) for span in (str(now // DAY_MS), "ever")}


Record = TypeVar("Record", bound=Struct | TaskMessage)

encode = msgpack.encode
"""A record as bytes."""


def decode(kind: type[Record], encoded: bytes) -> Record:
    """The record that was encoded."""
    return msgpack.decode(encoded, type=kind)


def _fault(body: bytes) -> str:
    try:
        decode(TaskMessage, body)
    except DecodeError as error:
        return str(error)
    return "it was taken for damaged"
