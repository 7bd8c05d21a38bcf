"""The example with one broken step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.task_state import TaskState
from asynq_lmdb import LmdbBroker
from asynq_lmdb.store import Store

if TYPE_CHECKING:
    from asynq.brokerkit.records import TaskRecord


class Unfenced(Store):
    """A store that lets a former worker settle a task although its lease was lost and another run has it."""

    def owns(self, task: TaskRecord, token: str) -> bool:
        return task.state is TaskState.ACTIVE


class LastInFirstOut(Store):
    """A store that puts new tasks before the waiting ones."""

    def tail(self, queue: str) -> int:
        return -super().tail(queue)


def last_in_first_out(path: str) -> LmdbBroker:
    """A broker that is not a queue, for any process."""
    return LmdbBroker(path, store=LastInFirstOut)
