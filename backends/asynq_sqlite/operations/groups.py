"""Groups, and the aggregation sets taken from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.brokerkit.transitions import log_set_aside
from asynq.errors import AggregationLostError
from asynq.protocol.groups import AggregationSet, GroupInfo
from asynq.protocol.ops import (
    MAX_BATCH,
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
from asynq_sqlite.operations import produce
from asynq_sqlite.store.rows import UndecodableError, decode

if TYPE_CHECKING:
    from asynq_sqlite.store.task_store import TaskStore


def list_groups(store: TaskStore, op: ListGroups, now: int) -> Groups:
    """Return one page of groups, ordered by name. The cursor is the last name."""
    found = store.groups_after(op.queue, op.cursor, MAX_BATCH)
    groups = (
        GroupInfo(name=name, size=size, waiting=max(now - oldest, 0), quiet=max(now - newest, 0))
        for name, size, oldest, newest in found
    )
    return Groups(groups=tuple(groups), cursor=found[-1][0] if len(found) == MAX_BATCH else "")


def take_group(store: TaskStore, op: TakeGroup, now: int) -> AggregationSet | None:
    """Take the oldest tasks of a group that is due for aggregation."""
    where = (op.queue, op.group, op.set_id)
    if store.held_until(*where) is None:
        size, oldest, newest = store.group_span(op.queue, op.group)
        ripe = 0 < op.max_size <= size or 0 < op.max_delay <= now - oldest or op.grace <= now - newest
        if not size or not ripe:
            return None
        for row in store.oldest_of_group(op.queue, op.group, min(op.max_size or MAX_SET_SIZE, MAX_SET_SIZE)):
            store.put_in_set(row.task, op.set_id)
        store.hold_set(*where, now + op.hold)
    messages = []
    for row in store.rows_of_set(*where):
        try:
            messages.append(decode(row))
        except UndecodableError as error:
            log_set_aside(op.queue, store.set_aside(row, str(error), now), str(error))
    if not messages:
        store.forget_set(*where)
        return None
    return AggregationSet(queue=op.queue, group=op.group, id=op.set_id, messages=tuple(messages))


def extend_aggregation(store: TaskStore, op: ExtendAggregation, now: int) -> None:
    """Extend the hold on the set."""
    held_until = _held(store, op.taken)
    store.hold_set(op.taken.queue, op.taken.group, op.taken.id, max(held_until, now + op.hold))


def finish_aggregation(store: TaskStore, op: FinishAggregation, now: int) -> Enqueued:
    """Replace the set with its aggregate. If the aggregate is refused, everything is undone."""
    taken, message = op.taken, op.enqueue.message
    if store.held_until(taken.queue, taken.group, taken.id) is None:
        present = store.find(message.queue, message.id)
        enqueue_id = op.enqueue.enqueue_id
        if present and (first := produce.first_answer(store, present, enqueue_id)) is not None:
            return first
        raise AggregationLostError(taken.queue, taken.group)
    # Deleted first: the aggregate may use their ids and locks.
    store.delete(store.tasks_of_set(taken))
    store.forget_set(taken.queue, taken.group, taken.id)
    return produce.enqueue(store, op.enqueue, now)


def return_aggregation(store: TaskStore, op: ReturnAggregation, now: int) -> None:  # noqa: ARG001 - a handler's signature
    """Return the tasks of the set to their group."""
    _held(store, op.taken)
    _give_back(store, op.taken.queue, op.taken.group, op.taken.id)


def reclaim_aggregations(store: TaskStore, op: ReclaimAggregations, now: int) -> int:
    """Return the tasks of sets whose hold has expired to their groups."""
    overdue = store.overdue_sets(op.queue, now, op.limit)
    for where in overdue:
        _give_back(store, *where)
    return len(overdue)


def repair_groups(store: TaskStore, op: RepairGroups, now: int) -> Repaired:  # noqa: ARG001 - a handler's signature
    """Do nothing: groups are listed by their tasks."""
    return Repaired(listed=0, cursor="")


def _held(store: TaskStore, taken: AggregationSet) -> int:
    held_until = store.held_until(taken.queue, taken.group, taken.id)
    if held_until is None:
        raise AggregationLostError(taken.queue, taken.group)
    return held_until


def _give_back(store: TaskStore, queue: str, group: str, set_id: str) -> None:
    store.empty_set(queue, group, set_id)
    store.forget_set(queue, group, set_id)
