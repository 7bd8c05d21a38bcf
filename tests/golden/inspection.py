"""The recorded calls of Go's Inspector, executed by ours. A refusal must be the same refusal."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Inspector
from asynq.errors import AsynqError, QueueNotEmptyError, QueueNotFoundError, TaskNotFoundError, TaskStateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker

_QUEUE = "default"
_REFUSALS: dict[str, type[AsynqError]] = {
    "asynq: queue not found": TaskNotFoundError,
    "asynq: task not found": TaskNotFoundError,
    "asynq: FAILED_PRECONDITION: task is already": TaskStateError,
    "queue not found": QueueNotFoundError,
    "queue is not empty": QueueNotEmptyError,
}
"""Prefixes of Go's errors. For a task of an unknown queue, our error is that of an unknown task."""

_VERBS: dict[str, Callable[[Inspector, str], Any]] = {
    "RunTask": lambda inspector, task_id: inspector.run_task(*_place(task_id)),
    "ArchiveTask": lambda inspector, task_id: inspector.archive_task(*_place(task_id)),
    "DeleteTask": lambda inspector, task_id: inspector.delete_task(*_place(task_id)),
    "ArchiveAllPendingTasks": lambda inspector, _: inspector.archive_all(_QUEUE, "pending"),
    "RunAllScheduledTasks": lambda inspector, _: inspector.run_all(_QUEUE, "scheduled"),
    "ArchiveAllAggregatingTasks": lambda inspector, g: inspector.archive_all(_QUEUE, "aggregating", g),
    "RunAllAggregatingTasks": lambda inspector, g: inspector.run_all(_QUEUE, "aggregating", g),
    "DeleteAllArchivedTasks": lambda inspector, _: inspector.delete_all(_QUEUE, "archived"),
    "DeleteQueue": lambda inspector, args: inspector.delete_queue(_QUEUE, force="force=true" in args),
}


def _place(name: str) -> tuple[str, str]:
    """Queue and id of a task, recorded as "queue/id" or as its id only."""
    queue, slash, task_id = name.rpartition("/")
    return (queue, task_id) if slash else (_QUEUE, task_id)


def inspect(broker: Broker, step: dict[str, Any]) -> None:
    """Execute the step. The answer or the refusal must be the same."""
    verb = step["op"].removeprefix("Inspector.")
    if verb == "PauseQueue":
        assert Inspector(broker).pause(step["args"]) is ("error" not in step)
        return
    call = partial(_VERBS[verb], Inspector(broker), step.get("args", ""))
    if "error" in step:
        begun = next(text for text in _REFUSALS if step["error"].startswith(text))
        with pytest.raises(_REFUSALS[begun]):
            call()
    else:
        answer = call()
        assert answer == step.get("result", answer)
