"""Operations on parents: completed tasks whose followers are not enqueued yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from asynq.errors import TaskNotFoundError
from asynq.protocol.followers import HELD, LONGEST_RETENTION, RESULT_HEADER, members_of
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.model.records import whole_second

if TYPE_CHECKING:
    from asynq.protocol.message import StoredTask
    from asynq.protocol.ops import Arrive, FinishParent, TakeParents
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System


def is_kept_for_followers(task: ModelTask, now: int) -> bool:
    """Whether tasks follow this one that are not enqueued yet."""
    return task.state is TaskState.COMPLETED and task.due > whole_second(now) + LONGEST_RETENTION * 1000


def take_parents(system: System, op: TakeParents, now: int) -> tuple[StoredTask, ...]:
    """Hold the parents that nobody holds."""
    completed = system.of_state(op.queue, TaskState.COMPLETED)
    parents = [task for task in completed if is_kept_for_followers(task, now)]
    free = [task for task in parents if task.due <= now + HELD * 1000][: op.limit]
    for task in free:
        task.due = whole_second(now + op.hold) + HELD * 1000
    return tuple(system.stored(task, now) for task in free)


def finish_parent(system: System, op: FinishParent, now: int) -> bool:
    """Delete a held parent, or keep it for its own retention."""
    task = system.find(op.queue, op.task_id)
    if task is None or task.state is not TaskState.COMPLETED or task.due != op.held_until:
        return False
    if op.retention:
        system.put(task, TaskState.COMPLETED, whole_second(now + op.retention))
    else:
        system.delete(task)
    return True


def arrive(system: System, op: Arrive, now: int) -> int:
    """Pass a result on to the task that waits for it; the last one lets it run."""
    task = system.find(op.queue, op.task_id)
    if task is None:
        raise TaskNotFoundError(op.queue, op.task_id)
    if task.state is not TaskState.SCHEDULED or task.due != WAITING:
        return 0
    if (op.member_queue, op.member_id) not in members_of(task.message):
        raise TaskNotFoundError(op.queue, op.task_id)
    headers = {f"{RESULT_HEADER}{op.member}": op.result, **task.message.headers}
    task.message = replace(task.message, headers=headers)
    missing = op.members - len([name for name in headers if name.startswith(RESULT_HEADER)])
    if not missing:
        system.put_pending(task, now)
    return missing
