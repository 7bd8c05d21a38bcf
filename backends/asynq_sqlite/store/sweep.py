"""Upkeep of many queues: a few queries find the queues that have something to do.

A server repeats the same upkeep for each of its queues, and usually there is nothing to do. Finding the
queues that have tasks in a state takes one index lookup for each of these, and none for the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asynq.brokerkit.batches import batches
from asynq.protocol.ops import (
    Adopted,
    AdoptOrphans,
    Advanced,
    AdvanceSequences,
    Forward,
    Forwarded,
    Groups,
    ListGroups,
    ListLostLeases,
    LostLeases,
    PurgeCompleted,
    ReclaimAggregations,
    Repaired,
    RepairGroups,
    TakeParents,
    TrimArchive,
)
from asynq_sqlite.store.followers import kept_beyond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from asynq.protocol.ops import Op
    from asynq_sqlite.store.task_store import TaskStore

MIN_SWEEP: Final = 20
"""Number of consecutive upkeep operations from which on all queues are read first."""


def by_queue(state: str, value: str) -> str:
    """Return a query for each queue with tasks in a state: its name, and a value of it."""
    following = f"(SELECT min(queue) FROM tasks WHERE state = '{state}' AND queue > found.queue)"
    return (
        "WITH RECURSIVE found(queue) AS ("
        f"SELECT min(queue) FROM tasks WHERE state = '{state}'"
        f" UNION ALL SELECT {following} FROM found WHERE queue IS NOT NULL)"
        f" SELECT queue, {value} FROM found WHERE queue IS NOT NULL"
    )


def first_by_queue(state: str) -> str:
    """Return a query for each queue with tasks in a state: its name, and their lowest rank."""
    return by_queue(
        state, f"(SELECT min(rank) FROM tasks WHERE tasks.state = '{state}' AND tasks.queue = found.queue)"
    )


READY_QUERY: Final = by_queue("pending", "EXISTS (SELECT 1 FROM paused WHERE paused.queue = found.queue)")
"""Queues with pending tasks, and whether they are paused."""
DUE_QUERIES: Final = (first_by_queue("scheduled"), first_by_queue("retry"))
"""Queues with scheduled and with retried tasks, and when the first of these is due."""
_LOCKS_QUERY: Final = (
    "WITH RECURSIVE found(queue) AS (SELECT min(queue) FROM locks"
    " UNION ALL SELECT (SELECT min(queue) FROM locks WHERE queue > found.queue) FROM found"
    " WHERE queue IS NOT NULL) SELECT queue, (SELECT min(expires_at) FROM locks"
    " WHERE locks.queue = found.queue) FROM found WHERE queue IS NOT NULL"
)
_HELD_QUERY: Final = "SELECT queue, min(held_until) FROM aggregations GROUP BY queue"
_PARENTS_QUERY: Final = by_queue(
    "completed",
    "(SELECT max(rank) FROM tasks WHERE tasks.state = 'completed' AND tasks.queue = found.queue)",
)
_SEQUENCES_QUERY: Final = "SELECT queue, 0 FROM sequences GROUP BY queue"

Idle = dict[str, int]
"""For each queue that may have something to do, from which instant on. Other queues have nothing to do."""


def _firsts(store: TaskStore, *queries: str) -> Idle:
    firsts: Idle = {}
    for query in queries:
        for queue, first in store.fetch(query):
            firsts[queue] = min(first, firsts.get(queue, first))
    return firsts


def _forwarded(store: TaskStore) -> Callable[[Forward, int], Any]:
    dues = _firsts(store, *DUE_QUERIES)

    def answer(op: Forward, now: int) -> Forwarded | None:
        due = dues.get(op.queue)
        return Forwarded(moved=0, next_due=due) if due is None or due > now else None

    return answer


def _nothing_before(answer: Any, *queries: str) -> Callable[[TaskStore], Callable[[Any, int], Any]]:
    """Return what answers upkeep of queues whose first instant is in the future."""

    def look(store: TaskStore) -> Callable[[Any, int], Any]:
        firsts = _firsts(store, *queries)
        return lambda op, now: answer if op.queue not in firsts or firsts[op.queue] > now else None

    return look


def _nothing_without(answer: Any, state: str) -> Callable[[TaskStore], Callable[[Any, int], Any]]:
    """Return what answers upkeep of queues without a task in the state."""

    def look(store: TaskStore) -> Callable[[Any, int], Any]:
        queues = {queue for queue, _ in store.fetch(by_queue(state, "0"))}
        return lambda op, _: None if op.queue in queues else answer

    return look


def _no_parents(store: TaskStore) -> Callable[[TakeParents, int], Any]:
    latest: Idle = dict(store.fetch(_PARENTS_QUERY))

    def answer(op: TakeParents, now: int) -> tuple[()] | None:
        return () if latest.get(op.queue, 0) <= kept_beyond(now) else None

    return answer


_FINDERS: Final[dict[type[Op[Any]], Callable[[TaskStore], Callable[[Any, int], Any]]]] = {
    Forward: _forwarded,
    ListLostLeases: _nothing_before(LostLeases(leases=(), set_aside=()), first_by_queue("active")),
    AdoptOrphans: _nothing_without(Adopted(adopted=0, dropped=0, cursor=0), "active"),
    PurgeCompleted: _nothing_before(0, first_by_queue("completed"), _LOCKS_QUERY),
    TrimArchive: _nothing_without(0, "archived"),
    AdvanceSequences: _nothing_before(Advanced(promoted=0, examined=0, cursor=""), _SEQUENCES_QUERY),
    TakeParents: _no_parents,
    ReclaimAggregations: _nothing_before(0, _HELD_QUERY),
    RepairGroups: _nothing_without(Repaired(listed=0, cursor=""), "aggregating"),
    ListGroups: _nothing_without(Groups(groups=(), cursor=""), "aggregating"),
}


def parts(ops: Sequence[Op[Any]], batch: int) -> Iterator[Sequence[Op[Any]]]:
    """Divide operations, in order, into undivided upkeep of many queues, and batches of the others."""
    return batches(ops, batch) if len(ops) < MIN_SWEEP else _upkeep_apart(ops, batch)


def _upkeep_apart(ops: Sequence[Op[Any]], batch: int) -> Iterator[Sequence[Op[Any]]]:
    start = end = 0
    while end < len(ops):
        first = end
        while end < len(ops) and type(ops[end]) in _FINDERS:
            end += 1
        if end - first >= MIN_SWEEP:
            yield from batches(ops[start:first], batch)
            yield ops[first:end]
            start = end
        else:
            end += 1
    yield from batches(ops[start:], batch)


def is_upkeep(ops: Sequence[Op[Any]]) -> bool:
    """Return whether a part is upkeep of many queues."""
    return len(ops) >= MIN_SWEEP and all(type(op) in _FINDERS for op in ops)


def idle_answers(store: TaskStore, ops: Sequence[Op[Any]], now: int) -> list[Any]:
    """Return the answers to operations that find nothing to do, None in place of the others."""
    looks = {kind: _FINDERS[kind](store) for kind in {type(op) for op in ops}}
    return [looks[type(op)](op, now) for op in ops]
