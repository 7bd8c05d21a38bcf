"""Operations on groups and on the sets of tasks taken from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AggregationLostError
from asynq.protocol.groups import AggregationSet, GroupInfo
from asynq.protocol.ops import (
    MAX_SET_SIZE,
    Enqueued,
    ExtendAggregation,
    FinishAggregation,
    Groups,
    ListGroups,
    ReclaimAggregations,
    Repaired,
    RepairGroups,
    ReturnAggregation,
    TakeGroup,
)
from asynq.task_state import TaskState
from asynq_conformance.model.produce import enqueue
from asynq_conformance.model.records import whole_second

if TYPE_CHECKING:
    from asynq_conformance.model.records import SetKey
    from asynq_conformance.model.state import System


def list_groups(system: System, op: ListGroups, now: int) -> Groups:
    """All groups with tasks, on one page."""
    names = sorted(
        {task.group for task in system.of_state(op.queue, TaskState.AGGREGATING) if not task.set_id}
    )
    found = [(name, system.waiting(op.queue, name)) for name in names]
    groups = (
        GroupInfo(
            name=name,
            size=len(tasks),
            waiting=max(now - tasks[0].due, 0),
            quiet=max(now - tasks[-1].due, 0),
        )
        for name, tasks in found
    )
    return Groups(groups=tuple(groups), cursor="")


def take_group(system: System, op: TakeGroup, now: int) -> AggregationSet | None:
    """Take the oldest tasks of a ripe group, once for each set id."""
    key = (op.queue, op.group, op.set_id)
    if key not in system.sets:
        tasks = system.waiting(op.queue, op.group)
        if not tasks:
            return None
        full = 0 < op.max_size <= len(tasks)
        late = 0 < op.max_delay <= now - tasks[0].due
        quiet = op.grace <= now - tasks[-1].due
        if not (full or late or quiet):
            return None
        for task in tasks[: min(op.max_size or MAX_SET_SIZE, MAX_SET_SIZE)]:
            task.set_id = op.set_id
        system.sets[key] = now + op.hold
    messages = tuple(task.message for task in system.held(key))
    return AggregationSet(queue=op.queue, group=op.group, id=op.set_id, messages=messages)


def _key(taken: AggregationSet) -> SetKey:
    return taken.queue, taken.group, taken.id


def _must_be_held(system: System, taken: AggregationSet) -> SetKey:
    if _key(taken) not in system.sets:
        raise AggregationLostError(taken.queue, taken.group)
    return _key(taken)


def extend_aggregation(system: System, op: ExtendAggregation, now: int) -> None:
    """Extend the hold of a set, never shorten it."""
    key = _must_be_held(system, op.taken)
    system.sets[key] = max(system.sets[key], now + op.hold)


def finish_aggregation(system: System, op: FinishAggregation, now: int) -> Enqueued:
    """Enqueue the aggregate and delete its tasks."""
    message = op.enqueue.message
    present = system.find(message.queue, message.id)
    done_before = present is not None and present.enqueue_id == op.enqueue.enqueue_id
    if present is not None and done_before and _key(op.taken) not in system.sets:
        return present.answer
    key = _must_be_held(system, op.taken)
    members = list(system.held(key))
    answer = enqueue(system, op.enqueue, now, frozenset(task.key for task in members))
    for task in members:
        if system.tasks.get(task.key) is task:
            system.delete(task)
    del system.sets[key]
    return answer


def return_aggregation(system: System, op: ReturnAggregation, now: int) -> None:
    """Return the tasks to their group, with the times at which they were added."""
    del now
    _give_back(system, _must_be_held(system, op.taken))


def reclaim_aggregations(system: System, op: ReclaimAggregations, now: int) -> int:
    """Return the sets whose hold has expired. For one that expired within this second, both are allowed."""
    ended = [
        (whole_second(until), not system.choices.reclaimed(key), key)
        for key, until in system.sets.items()
        if key[0] == op.queue and until <= now
    ]
    due = [key for until, left, key in sorted(ended) if until <= now or not left]
    for key in due[: op.limit]:
        _give_back(system, key)
    return len(due[: op.limit])


def _give_back(system: System, key: SetKey) -> None:
    for task in system.held(key):
        task.set_id = ""
    del system.sets[key]


def repair_groups(system: System, op: RepairGroups, now: int) -> Repaired:
    """A group is listed exactly if it holds tasks."""
    del system, op, now
    return Repaired(listed=0, cursor="")
