"""Which tasks are asked for: one, some, or all of a state that a filter selects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from msgspec import Meta, Struct

from asynq.inspector.task_filter import TaskFilter
from asynq.runtime.short_texts import plural
from asynq.task_state import TaskState
from asynq.web.api.durations import read_duration

if TYPE_CHECKING:
    from datetime import timedelta

MAX_IDS = 1000
"""Ids of tasks in one request."""

TypePattern = Annotated[str, Meta(max_length=1000)]
"""It is made a regular expression, which takes long for a long one."""
TaskIDs = Annotated[tuple[str, ...], Meta(min_length=1, max_length=MAX_IDS)]


class OneTask(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a task."""

    queue: str
    task_id: str

    def __str__(self) -> str:
        return f"task {self.task_id!r} of queue {self.queue!r}"


class TaskInState(OneTask, frozen=True, kw_only=True):
    """Names a task. Its state is part of asynqmon's paths, and may be another one meanwhile."""

    state: TaskState


class SomeTasks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names some tasks of a queue."""

    queue: str
    state: TaskState
    task_ids: TaskIDs

    def __str__(self) -> str:
        return f"{plural(len(self.task_ids), f'{self.state.value} task')} of queue {self.queue!r}"


class Conditions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Conditions that tasks must meet, all of those that are given."""

    type: TypePattern | None = None
    """Pattern of the type, such as "email:*"."""
    payload: str | None = None
    """Text that the payload contains."""
    error: str | None = None
    """Text that the last error contains, in upper or lower case."""
    older_than: str | None = None
    """A duration such as "1h30m": longer in this state."""
    newer_than: str | None = None
    """A duration: not longer in this state."""

    @property
    def where(self) -> TaskFilter | None:
        """The filter; None if it would select everything. ValueError for conditions without a meaning."""
        chosen = TaskFilter(
            type=self.type,
            payload=self.payload,
            error=self.error,
            older_than=_duration("older_than", self.older_than),
            newer_than=_duration("newer_than", self.newer_than),
        )
        return None if chosen == TaskFilter() else chosen

    def _conditions(self) -> str:
        given = {
            "of type": self.type,
            "with payload": self.payload,
            "with error": self.error,
            "older than": self.older_than,
            "newer than": self.newer_than,
        }
        conditions = ", ".join(f"{name} {value!r}" for name, value in given.items() if value is not None)
        return f" {conditions}" if conditions else ""


class SelectedTasks(Conditions, frozen=True, kw_only=True):
    """All tasks of one state that meet the conditions."""

    queue: str
    state: TaskState
    group: str | None = None
    """Of aggregating tasks: only those of this group."""

    def __str__(self) -> str:
        of_group = f" of group {self.group!r}" if self.group is not None else ""
        return f"all {self.state.value} tasks{of_group} of queue {self.queue!r}{self._conditions()}"


class GroupTasks(Conditions, frozen=True, kw_only=True):
    """All tasks of a group that meet the conditions."""

    queue: str
    group: str

    def __str__(self) -> str:
        return f"all tasks of group {self.group!r} of queue {self.queue!r}{self._conditions()}"

    @property
    def selected(self) -> SelectedTasks:
        """The same tasks, by their state."""
        return SelectedTasks(
            queue=self.queue,
            group=self.group,
            state=TaskState.AGGREGATING,
            type=self.type,
            payload=self.payload,
            error=self.error,
            older_than=self.older_than,
            newer_than=self.newer_than,
        )


def _duration(name: str, text: str | None) -> timedelta | None:
    if text is None:
        return None
    try:
        return read_duration(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
