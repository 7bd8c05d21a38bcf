"""The options that select tasks: by queue, state, type, payload, error and age."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from attrs import frozen

from asynq.cli.arguments import read_duration, usage_error
from asynq.cli.completion import queue_names, states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.info import TaskInfo
    from asynq.inspector.inspector import Inspector
    from asynq.inspector.task_filter import TaskFilter
    from asynq.task_state import TaskState

Queue = Annotated[
    str, typer.Option("--queue", "-q", metavar="NAME", autocompletion=queue_names, help="Name of the queue.")
]
State = Annotated[
    str | None,
    typer.Option(
        "--state",
        "-s",
        metavar="STATE",
        autocompletion=states,
        help="pending, active, scheduled, retry, archived, completed or aggregating.",
    ),
]
Group = Annotated[
    str | None, typer.Option("--group", "-g", metavar="NAME", help="Of aggregating tasks: only this group.")
]
Type = Annotated[
    str | None, typer.Option("--type", "-t", metavar="PATTERN", help="Only these types, such as 'email:*'.")
]
Payload = Annotated[
    str | None,
    typer.Option(
        "--payload", metavar="TEXT", help="Only with this text, as it is stored: JSON has no spaces."
    ),
]
Error = Annotated[
    str | None, typer.Option("--error", metavar="TEXT", help="Only if the last error contains this text.")
]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="DURATION", help="Only if longer in their state, e.g. 1h30m."),
]
NewerThan = Annotated[
    str | None, typer.Option("--newer-than", metavar="DURATION", help="Only if not longer in their state.")
]


@frozen(kw_only=True)
class Selected:
    """The tasks that a command line selects."""

    queue: str
    state: TaskState
    group: str | None
    where: TaskFilter | None

    def __str__(self) -> str:
        of_group = f" of group {self.group!r}" if self.group is not None else ""
        return f"{self.state.value} tasks{of_group} in queue {self.queue!r}{self._conditions()}"

    def _conditions(self) -> str:
        if self.where is None:
            return ""
        given = {
            "type": self.where.type,
            "payload with": self.where.payload,
            "error with": self.where.error,
            "older than": self.where.older_than,
            "newer than": self.where.newer_than,
        }
        texts = (f"{name} {str(value)!r}" for name, value in given.items() if value is not None)
        return f" ({', '.join(texts)})"

    def count(self, inspector: Inspector, *, waiting: bool = True) -> int:
        """How many there are now. QueueNotFoundError.

        Args:
            inspector: What reads them.
            waiting: Whether also those that wait in sequences or for other tasks.
        """
        from asynq.task_state import TaskState

        info = inspector.queue_info(self.queue)
        all_count = waiting or self.state is not TaskState.SCHEDULED
        if self.where is None and self.group is None and all_count:
            return int(getattr(info, self.state.value))
        return sum(waiting or not task.waiting for task in self.tasks(inspector))

    def tasks(self, inspector: Inspector) -> Iterator[TaskInfo]:
        """The tasks, next to run or oldest first."""
        from asynq.task_state import TaskState

        if self.state is not TaskState.AGGREGATING or self.group is not None:
            yield from inspector.tasks(self.queue, self.state, self.group, where=self.where)
            return
        inspector.queue_info(self.queue)
        for group in inspector.groups(self.queue):
            yield from inspector.tasks(self.queue, self.state, group.name, where=self.where)


def selected(
    queue: str,
    state: str,
    group: str | None,
    *,
    type_pattern: str | None,
    payload: str | None,
    error: str | None,
    older_than: str | None,
    newer_than: str | None,
) -> Selected:
    """Read the options. A usage error for values that have no meaning."""
    from asynq.inspector.task_filter import TaskFilter
    from asynq.task_state import TaskState

    if state not in list(TaskState):
        raise usage_error(f"--state {state!r}: use one of {', '.join(TaskState)}")
    if group is not None and state != TaskState.AGGREGATING:
        raise usage_error("--group: only aggregating tasks are in groups")
    where = TaskFilter(
        type=type_pattern,
        payload=payload,
        error=error,
        older_than=None if older_than is None else read_duration("--older-than", older_than),
        newer_than=None if newer_than is None else read_duration("--newer-than", newer_than),
    )
    return Selected(
        queue=queue, state=TaskState(state), group=group, where=None if where == TaskFilter() else where
    )
