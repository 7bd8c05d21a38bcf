"""What an examination finds: damage that crashes, evictions and old Go peers leave behind."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Fault(StrEnum):
    """A kind of damage, and what repairing it means."""

    ORPHANED_TASK = "orphaned task"
    """A task that no state of its queue lists. Put back where it says it is; an archived one is deleted, for
    it was trimmed away, and a scheduled one, whose due time is lost, is archived."""
    REMNANT = "remnant of a task"
    """Fields of a task without its message. Deleted."""
    MISSING_TASK = "id without a task"
    """A listed id whose task is gone. Taken off the list."""
    MISSING_LEASE = "active task without a lease"
    """Given a lease that lapses soon, so that recovery finds it."""
    UNLISTED_GROUP = "group that is not listed"
    """No aggregator sees it. Listed."""
    STRAY_LOCK = "uniqueness lock without its task"
    """It refuses duplicates of nothing. Deleted."""
    UNLISTED_QUEUE = "queue that is not listed"
    """Tasks flow, but nobody sees the queue. Listed."""
    STALE_PRESENCE = "record of a process that is gone"
    """Deleted."""


@frozen(kw_only=True)
class Finding:
    """One piece of damage."""

    fault: Fault
    queue: str = ""
    """The queue concerned, "" for what belongs to none."""
    name: str = ""
    """Id of the task, name of the group, the lock or the record; "" where the queue says it all."""

    def __str__(self) -> str:
        name = f" {self.name!r}" if self.name else ""
        return f"{self.fault.value}{name}" + (f" in queue {self.queue!r}" if self.queue else "")
