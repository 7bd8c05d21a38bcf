"""Findings of the doctor: kinds of damage that crashes, evictions and old Go peers leave in the store."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Fault(StrEnum):
    """A kind of damage, and how it is repaired."""

    ORPHANED_TASK = "orphaned task"
    """A task that is in no state list of its queue. Repair: put back into the list of the state it records.
    An archived one is deleted, because it was trimmed away; a scheduled one is archived, because its due time
    is lost."""
    REMNANT = "remnant of a task"
    """Fields of a task without its message. Repair: deleted."""
    MISSING_TASK = "id without a task"
    """A listed id whose task is gone. Repair: removed from the list."""
    MISSING_LEASE = "active task without a lease"
    """Repair: given a lease that expires soon, so that recovery finds the task."""
    MISSING_PLACE = "task without a place in its sequence"
    """It may wait for ever, or run beside another task. Repair: put at the tail of its sequence."""
    UNLISTED_GROUP = "group that is not listed"
    """No aggregator sees the group. Repair: listed."""
    STRAY_LOCK = "uniqueness lock without its task"
    """It refuses duplicates of a task that is gone. Repair: deleted."""
    UNLISTED_QUEUE = "queue that is not listed"
    """The queue works but no listing shows it. Repair: listed."""
    STALE_PRESENCE = "record of a process that is gone"
    """Repair: deleted."""


class Finding(Struct, frozen=True, kw_only=True):
    """One damaged item in the store."""

    fault: Fault
    queue: str = ""
    """The queue concerned; "" for an item that belongs to no queue."""
    name: str = ""
    """Id of the task, or name of the group, the lock or the record; "" where the queue is sufficient."""

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"{self.fault.value}{name}" + (f" in queue {self.queue!r}" if self.queue else "")
