"""Uniqueness locks: until when one is held for certain, and from when it is not."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from attrs import Factory, define

from asynq.task_state import TaskState

if TYPE_CHECKING:
    from asynq.protocol.ops import Unique
    from asynq_conformance.model.state import System, Task, TaskKey


@define
class Lock:
    """A lock that was taken."""

    owner: TaskKey
    unique: Unique
    end: int
    """Instant at which its ttl ends."""
    step: int = 0
    """Kept: the next step of its task, which it outlasts."""
    renewed: int = 0
    """Kept: the latest instant to which a renewal may have moved its end."""
    rivals: set[TaskKey] = Factory(set)
    """Tasks that kept this lock too and may have it again, because its owner was late to renew it."""


def take(system: System, task: Task, unique: Unique, counted_from: int) -> None:
    """Let the task hold its lock, which nobody does."""
    end = counted_from + unique.ttl
    system.locks[task.message.unique_key] = Lock(task.key, unique, end, renewed=end)


def is_held(system: System, name: str, now: int) -> bool | None:
    """Whether a lock is held; None where that is open."""
    lock = system.locks.get(name)
    if lock is None:
        return False
    keeping = any(_keeps(system, key, name) for key in (lock.owner, *lock.rivals))
    certain = 0 if lock.rivals else max(lock.end, lock.step) if keeping else lock.end
    if now < certain - system.openings.early:
        return True
    return False if now >= (inf if keeping else max(lock.end, lock.renewed)) else None


def holder(system: System, name: str, now: int) -> Lock | None:
    """The lock of this name if it is held."""
    held = is_held(system, name, now)
    if not (system.openings.held(name) if held is None else held):
        return None
    lock = system.locks[name]
    if held:
        return lock
    if lock.rivals:
        lock.owner = system.openings.owner(lock.owner, lock.rivals)
    return lock


def release(system: System, task: Task, *modes: str) -> None:
    """Free the lock if the task owns it and its kind is one of these; by default all that a task ends."""
    lock = system.locks.get(task.message.unique_key)
    if lock is None or lock.unique.until not in (modes or ("done", "start")):
        return
    lock.rivals.discard(task.key)
    if lock.owner == task.key:
        if lock.rivals:
            lock.owner = lock.rivals.pop()
            lock.rivals.add(lock.owner)  # it may have it, and may not
        else:
            del system.locks[task.message.unique_key]


def start(system: System, task: Task) -> None:
    """A worker takes the task: it has no claim any longer to a lock that lasts until then."""
    release(system, task, "start")
    if task.unique is not None and task.unique.until == "start":
        task.unique = None


def renew(system: System, task: Task, wait: int, now: int) -> None:
    """The task's next step is `wait` from now: a kept lock lasts until then."""
    unique, name = task.unique, task.message.unique_key
    if unique is None or not unique.keep:
        return
    renewed = now + wait + unique.ttl
    lock = system.locks.get(name)
    if lock is None:
        # Renewed too late once, and passed on: it is open whether it comes back when it is free again.
        system.locks[name] = Lock(task.key, unique, 0, renewed=renewed, rivals={task.key})
    elif lock.owner == task.key:
        lock.step = max(lock.step, now + wait)
        lock.renewed = max(lock.renewed, renewed)
    else:
        lapsed = now >= max(lock.end, lock.step) - system.openings.early
        if lapsed:
            lock.rivals |= {lock.owner, task.key}
            lock.renewed = max(lock.renewed, renewed)


def _keeps(system: System, key: TaskKey, name: str) -> bool:
    """Whether a task lives that keeps a lock of this name."""
    task = system.tasks.get(key)
    if task is None or task.unique is None or task.message.unique_key != name:
        return False
    return task.unique.keep and task.state not in (TaskState.ARCHIVED, TaskState.COMPLETED)
