"""Finds the queue of a task that is given by its id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from attrs import define

from asynq.cli.completion import queue_names
from asynq.errors import AsynqError

if TYPE_CHECKING:
    from asynq.info import TaskInfo
    from asynq.inspector.inspector import Inspector

QueueOfID = Annotated[
    str | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME",
        autocompletion=queue_names,
        help="Name of the queue. [default: of ids, any; of tasks that are selected, default]",
    ),
]


@define
class NoTaskError(AsynqError):
    """No queue has a task of this id."""

    task_id: str

    def __str__(self) -> str:
        return f"no queue has a task {self.task_id!r}. Ids must be whole"


@define
class SeveralTasksError(AsynqError):
    """Tasks of several queues have this id."""

    task_id: str
    queues: tuple[str, ...]

    def __str__(self) -> str:
        names = ", ".join(map(repr, self.queues))
        return f"several queues have a task {self.task_id!r}: {names}. Choose one with --queue"


def find_task(inspector: Inspector, queue: str | None, task_id: str) -> TaskInfo:
    """The task, in any queue unless one is given. TaskNotFoundError, NoTaskError, SeveralTasksError."""
    if queue is not None:
        return inspector.task(queue, task_id)
    found = inspector.find_tasks(task_id)
    if not found:
        raise NoTaskError(task_id)
    if len(found) > 1:
        raise SeveralTasksError(task_id, tuple(task.queue for task in found))
    return found[0]
