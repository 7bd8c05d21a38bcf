"""The records that a broker stores and delivers: `TaskMessage`, `Lease`, `Delivery`, `QueueStats`.

Durations and instants inside a TaskMessage are whole seconds, as in the wire format of Go asynq. Everything
else in the protocol is in milliseconds (see `asynq.protocol.ops`).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - backends read the annotations

from msgspec import Struct, field

from asynq.protocol.sequences import MEMBERS_HEADER, SEQUENCE_HEADER, WAITING
from asynq.task_state import TaskState


class TaskMessage(Struct, frozen=True, kw_only=True, gc=False):
    """A task as it is stored, with the fields of Go asynq's protobuf message of the same name."""

    id: str
    type: str
    queue: str
    payload: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    max_retry: int = 25
    """Retries after the first run."""
    retried: int = 0
    error: str = ""
    """Text of the last error."""
    last_failed_at: int = 0
    """Unix seconds; 0 for never."""
    timeout: int = 0
    """Seconds that one run may take; 0 for no timeout."""
    deadline: int = 0
    """Unix seconds at which every run must have ended; 0 for no deadline."""
    retention: int = 0
    """Seconds for which a completed task is kept; 0 to delete it at once."""
    completed_at: int = 0
    """Unix seconds; 0 for not completed."""
    unique_key: str = ""
    """Name of the uniqueness lock of this task; "" for none."""
    group: str = ""
    """Name of the group in which this task is aggregated; "" for none."""

    @property
    def sequence(self) -> str:
        """Name of the sequence in which this task runs; "" for none."""
        return self.headers.get(SEQUENCE_HEADER, "") if self.headers else ""


class Lease(Struct, frozen=True, gc=False):
    """The right to run a task: valid as long as this token is the task's current one."""

    queue: str
    task_id: str
    token: str


class Delivery(Struct, frozen=True, kw_only=True, gc=False):
    """A task delivered to one worker, with its lease."""

    message: TaskMessage
    token: str
    expires_at: int
    """Unix milliseconds at which the lease expires unless it is extended."""
    lease_losses: int = 0
    """How often a worker was lost while it ran this task."""
    cancel: str = ""
    """A cancellation recorded for this task: "archive" or "retry"; "" for none."""
    delivered_at: int = 0
    """Unix milliseconds by the broker's clock at which the task was delivered. A copy of the call has a later
    time."""
    pending_since: int = 0
    """Unix milliseconds since when the task was pending; 0 if it is not known, or a Dequeue did not ask."""

    @property
    def lease(self) -> Lease:
        """The lease of this delivery."""
        return Lease(self.message.queue, self.message.id, self.token)


class StoredTask(Struct, frozen=True, kw_only=True, gc=False):
    """A task as read from a broker."""

    message: TaskMessage
    state: TaskState
    due_at: int = 0
    """Unix milliseconds at which a scheduled or retried task is due, a completed task is deleted, an archived
    task was archived, or a lease expires; 0 in other states."""
    result: bytes | None = None
    pending_since: int = 0
    """Unix milliseconds since when the task is pending; 0 if it is not pending or the time was not
    recorded."""
    orphaned: bool = False
    """True for an active task whose lease has expired or is missing."""

    @property
    def waiting(self) -> bool:
        """True for a scheduled task that waits for its turn in its sequence, or for the tasks it follows."""
        if self.state is not TaskState.SCHEDULED or self.due_at != WAITING:
            return False
        headers = self.message.headers
        return bool(headers) and (SEQUENCE_HEADER in headers or MEMBERS_HEADER in headers)


class LostLease(Struct, frozen=True, kw_only=True):
    """An active task whose lease expired: its worker is dead, frozen or disconnected."""

    message: TaskMessage
    observed: str
    """What the broker read, to be compared when the task is recovered. Opaque."""
    lease_losses: int = 0
    """How often a worker was lost while it ran this task, before this time."""


class QueueStats(Struct, frozen=True, kw_only=True):
    """Statistics of one queue, read at one instant."""

    queue: str
    pending: int = 0
    active: int = 0
    scheduled: int = 0
    retry: int = 0
    archived: int = 0
    completed: int = 0
    aggregating: int = 0
    groups: int = 0
    processed: int = 0
    """Runs that ended today (UTC), including failures."""
    failed: int = 0
    """Runs that failed today (UTC)."""
    processed_total: int = 0
    failed_total: int = 0
    paused: bool = False
    latency: int = 0
    """Milliseconds that the oldest pending task has waited. Where tasks were put at the head of the queue, it
    may be the wait of the next task to run instead."""

    @property
    def size(self) -> int:
        """Number of tasks in the queue, in all states."""
        return (
            self.pending
            + self.active
            + self.scheduled
            + self.retry
            + self.archived
            + self.completed
            + self.aggregating
        )
