"""What the contract leaves to a backend to choose, as questions that the model asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from asynq_conformance.model.records import ModelTask, SetKey, TaskKey


class Choices:
    """The simplest choices. A comparison with a backend replaces them by those of the backend."""

    early = 0
    """Milliseconds by which a lock may end before its time, where a clock of its own ends it."""

    def tie(self, task: ModelTask) -> Any:
        """Orders tasks of one instant: by which of them is first, a backend decides."""
        return task.made

    def lapse(self, queue: str, task_id: str, instant: int) -> int:
        """When a lease ends that should end then: at that millisecond, or at the next."""
        del queue, task_id
        return instant

    def held(self, lock: str) -> bool:
        """Whether a lock is held that may be: one that is kept and was not renewed in time, say."""
        del lock
        return True

    def owner(self, last: TaskKey, rivals: Collection[TaskKey]) -> TaskKey:
        """Which of several tasks that kept a lock holds it, when each was late to renew it once."""
        del rivals
        return last

    def reclaimed(self, key: SetKey) -> bool:
        """Whether a set is reclaimed whose hold ended within this second."""
        del key
        return True

    def finishes(self) -> bool:
        """Whether the step that deletes as many tasks as it may, the last among them, ends a deletion."""
        return True
