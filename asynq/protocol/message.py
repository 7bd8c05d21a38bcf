"""The nouns a broker stores and hands out.

Units follow the wire format of Go asynq: durations and instants inside a TaskMessage are whole seconds.
Everything else in the contract counts milliseconds (see `asynq.protocol.ops`).
"""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - backends read the annotations
from typing import TYPE_CHECKING

from attrs import Factory, frozen

if TYPE_CHECKING:
    from asynq.task_state import TaskState


@frozen(kw_only=True)
class TaskMessage:
    """A task as it is stored: what Go asynq's protobuf message of this name carries."""

    id: str
    type: str
    queue: str
    payload: bytes = b""
    headers: Mapping[str, str] = Factory(dict)
    max_retry: int = 25
    """Retries after the first run."""
    retried: int = 0
    error: str = ""
    """Text of the last failure."""
    last_failed_at: int = 0
    """Unix seconds, 0 for never."""
    timeout: int = 0
    """Seconds a run may take, 0 for none."""
    deadline: int = 0
    """Unix seconds after which no run may go on, 0 for none."""
    retention: int = 0
    """Seconds a completed task is kept, 0 to delete it at once."""
    completed_at: int = 0
    """Unix seconds, 0 for not completed."""
    unique_key: str = ""
    """Name of the uniqueness lock this task took, "" for none."""
    group: str = ""
    """Name of the group this task is aggregated in, "" for none."""


@frozen
class Lease:
    """The right to run a task: valid as long as the broker knows this token for it."""

    queue: str
    task_id: str
    token: str


@frozen(kw_only=True)
class Delivery:
    """A task handed to one worker, with the lease that says so."""

    message: TaskMessage
    token: str
    expires_at: int
    """Unix milliseconds at which the lease lapses unless it is extended."""
    lease_losses: int = 0
    """How often this task's worker was lost so far."""
    cancel: str = ""
    """A cancellation recorded for this task: "archive" or "retry", "" for none."""
    delivered_at: int = 0
    """Unix milliseconds, by the broker's clock, at which it was handed out: by a copy of the call, later."""

    @property
    def lease(self) -> Lease:
        """The lease of this delivery."""
        return Lease(self.message.queue, self.message.id, self.token)


@frozen(kw_only=True)
class StoredTask:
    """A task as a broker finds it."""

    message: TaskMessage
    state: TaskState
    due_at: int = 0
    """Unix milliseconds: when a scheduled or retried task is due, a completed one is dropped, an archived
    one was archived, a lease lapses; 0 in other states."""
    result: bytes | None = None
    pending_since: int = 0
    """Unix milliseconds since when the task is pending, 0 if it is not or nobody noted it."""
    orphaned: bool = False
    """True for an active task whose lease has expired or is missing."""


@frozen(kw_only=True)
class LostLease:
    """An active task whose lease expired: its worker is dead, frozen or cut off."""

    message: TaskMessage
    observed: str
    """What the broker saw, to be compared again when the task is recovered. Opaque."""
    lease_losses: int = 0
    """How often this task's worker was lost before this time."""


@frozen(kw_only=True)
class QueueStats:
    """Numbers of one queue, read at one instant."""

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
    """Runs ended today (UTC), failures included."""
    failed: int = 0
    """Runs failed today (UTC)."""
    processed_total: int = 0
    failed_total: int = 0
    paused: bool = False
    latency: int = 0
    """Milliseconds the oldest pending task has waited; where tasks were put at the head, perhaps only as long
    as the next one has."""

    @property
    def size(self) -> int:
        """Number of tasks of the queue, whatever their state."""
        return (
            self.pending
            + self.active
            + self.scheduled
            + self.retry
            + self.archived
            + self.completed
            + self.aggregating
        )
