"""Uniqueness locks: until when a lock is certainly held, and from when it is certainly free."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from asynq.task_state import TaskState
from asynq_conformance.model.records import ModelLock

if TYPE_CHECKING:
    from asynq.protocol.ops import Unique
    from asynq_conformance.model.records import ModelTask, TaskKey
    from asynq_conformance.model.state import System


def take(system: System, task: ModelTask, unique: Unique, counted_from: int) -> None:
    """Give the task its lock, which must be free."""
    end = counted_from + unique.ttl
    system.locks[task.message.unique_key] = ModelLock(task.key, unique, end, renewed=end)


def is_held(system: System, name: str, now: int) -> bool | None:
    """Whether a lock is held; None if the contract allows both."""
    lock = system.locks.get(name)
    if lock is None:
        return False
    keeping = any(_keeps(system, key, name) for key in (lock.owner, *lock.rivals))
    certain = 0 if lock.rivals else max(lock.end, lock.step) if keeping else lock.end
    if now < certain - system.choices.early:
        return True
    return False if now >= (inf if keeping else max(lock.end, lock.renewed)) else None


def holder(system: System, name: str, now: int) -> ModelLock | None:
    """The lock of this name if it is held."""
    held, lock = is_held(system, name, now), system.locks.get(name)
    if lock is None or held is False:
        return None
    if held is None:
        owners = [system.tasks[key] for key in (lock.owner, *lock.rivals) if key in system.tasks]
        waiting = [task.key for task in owners if task.gives_way]
        if not system.choices.held(name, waiting):
            return None
        if lock.rivals:
            lock.owner = system.choices.owner(lock.owner, lock.rivals, waiting)
    return lock


def start(system: System, task: ModelTask) -> None:
    """A worker takes the task: a lock until start is released."""
    system.release(task, "start")
    if task.unique is not None and task.unique.until == "start":
        task.unique = None


def renew(system: System, task: ModelTask, wait: int, now: int) -> None:
    """The next step of the task is `wait` from now: its kept lock lasts until then."""
    unique, name = task.unique, task.message.unique_key
    if unique is None or not unique.keep:
        return
    renewed = now + wait + unique.ttl
    lock = system.locks.get(name)
    if lock is None:
        # Extended too late once, and passed on: whether it returns when it is free again is not defined.
        system.locks[name] = ModelLock(task.key, unique, 0, renewed=renewed, rivals={task.key})
    elif lock.owner == task.key:
        lock.step = max(lock.step, now + wait)
        lock.renewed = max(lock.renewed, renewed)
    else:
        lapsed = now >= max(lock.end, lock.step) - system.choices.early
        if lapsed:
            lock.rivals |= {lock.owner, task.key}
            lock.renewed = max(lock.renewed, renewed)


def _keeps(system: System, key: TaskKey, name: str) -> bool:
    """Whether a task exists that keeps a lock of this name."""
    task = system.tasks.get(key)
    if task is None or task.unique is None or task.message.unique_key != name:
        return False
    return task.unique.keep and task.state not in (TaskState.ARCHIVED, TaskState.COMPLETED)
