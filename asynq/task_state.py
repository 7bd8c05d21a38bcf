"""`TaskState`: the states of a task."""

from __future__ import annotations

from enum import StrEnum


class TaskState(StrEnum):
    """The state of a task. A task is in exactly one state at any time."""

    PENDING = "pending"
    ACTIVE = "active"
    SCHEDULED = "scheduled"
    RETRY = "retry"
    ARCHIVED = "archived"
    COMPLETED = "completed"
    AGGREGATING = "aggregating"
