"""Forward, ListLostLeases, Recover, AdoptOrphans, PurgeCompleted, TrimArchive, AdvanceSequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.message import LostLease
from asynq.protocol.ops import (
    MAX_BATCH,
    Adopted,
    AdoptOrphans,
    Advanced,
    AdvanceSequences,
    Forward,
    Forwarded,
    ListLostLeases,
    LostLeases,
    PurgeCompleted,
    Recover,
    TrimArchive,
)
from asynq.task_state import TaskState
from asynq_conformance.model import locks
from asynq_conformance.model.records import FINISHED, whole_second
from asynq_conformance.model.settle import fail

if TYPE_CHECKING:
    from asynq_conformance.model.records import ModelTask
    from asynq_conformance.model.state import System

DELAYED = (TaskState.SCHEDULED, TaskState.RETRY)
ADOPTED_TOKEN = "adopted"
"""The token of an adopted task, which no run has."""


def forward(system: System, op: Forward, now: int) -> Forwarded:
    """Move due tasks."""
    due = [task for task in system.of_state(op.queue, *DELAYED) if task.due <= now][: op.limit]
    for task in due:
        if task.group:
            system.put(task, TaskState.AGGREGATING, whole_second(now))
        else:
            system.put_pending(task, now)
        locks.renew(system, task, 0, now)
    left = system.of_state(op.queue, *DELAYED)
    return Forwarded(moved=len(due), next_due=left[0].due if left else None)


def list_lost_leases(system: System, op: ListLostLeases, now: int) -> LostLeases:
    """The expired leases."""
    active = system.of_state(op.queue, TaskState.ACTIVE)
    lost = [task for task in active if task.token and task.due <= now][: op.limit]
    return LostLeases(
        leases=tuple(
            LostLease(message=task.message, observed=_observed(task), lease_losses=task.losses)
            for task in lost
        ),
        next_expiry=min((task.due for task in active if task.token and task not in lost), default=None),
    )


def _observed(task: ModelTask) -> str:
    return f"{task.due} {task.token}"


def recover(system: System, op: Recover, now: int) -> bool:
    """Take the task from its lost worker if its lease has not changed since."""
    task = system.find(op.lost.message.queue, op.lost.message.id)
    if task is None or task.state is not TaskState.ACTIVE or _observed(task) != op.lost.observed:
        return False
    spent = int(task.message.retried < task.message.max_retry)
    fail(task, op.error, now, spent=spent, to=TaskState(op.to))
    task.losses += 1
    system.count(op.lost.message.queue, now, failed=True)
    if op.to == "pending":
        system.put_pending(task, now, head=True)
        locks.renew(system, task, 0, now)
    elif op.to == "retry":
        system.put(task, TaskState.RETRY, whole_second(now + op.delay))
        locks.renew(system, task, op.delay, now)
    else:
        task.cancel = ""
        system.put(task, TaskState.ARCHIVED, whole_second(now))
        system.advance(task.message, now)
        system.trim(op.lost.message.queue, op.max_size, op.max_age, MAX_BATCH, now)
    return True


def adopt_orphans(system: System, op: AdoptOrphans, now: int) -> Adopted:
    """Give a lease to every active task without one. Only damage creates such tasks."""
    active = sorted(system.of_state(op.queue, TaskState.ACTIVE), key=lambda task: task.made)
    looked_at = active[op.cursor : op.cursor + op.limit]
    orphans = [task for task in looked_at if not task.token]
    for task in orphans:
        system.put(task, TaskState.ACTIVE, now + op.grace, token=ADOPTED_TOKEN)
    more = op.cursor + op.limit < len(active)
    return Adopted(adopted=len(orphans), dropped=0, cursor=op.cursor + op.limit if more else 0)


def purge_completed(system: System, op: PurgeCompleted, now: int) -> int:
    """Delete completed tasks whose retention has ended."""
    ended = [task for task in system.of_state(op.queue, TaskState.COMPLETED) if task.due <= now]
    for task in ended[: op.limit]:
        system.delete(task)
    return len(ended[: op.limit])


def trim_archive(system: System, op: TrimArchive, now: int) -> int:
    """Delete the oldest archived tasks."""
    return system.trim(op.queue, op.max_size, op.max_age, op.limit, now)


def advance_sequences(system: System, op: AdvanceSequences, now: int) -> Advanced:
    """Promote the next task of each sequence without a live head."""
    tasks = [task for task in system.of_queue(op.queue) if task.state not in FINISHED]
    found = {task.message.sequence: task.message for task in tasks if task.message.sequence > op.cursor}
    names = sorted(found)[: op.limit]
    promoted = sum(system.advance(found[name], now) for name in names)
    cursor = names[-1] if len(names) == op.limit else ""
    return Advanced(promoted=promoted, examined=len(names), cursor=cursor)
