"""Dequeue from queues on different servers: one call per queue, all of them concurrently.

Each wanted task is requested from its preferred queue first. A task that this queue lacks is requested from
the next preferred queue. Thus priorities hold, and no more tasks are taken than wanted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol.ops import Requeue
from asynq_redis.operations.execution import HANDLERS, CallContext, Steps, interleaved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Dequeue

    DequeueFromOne = Callable[[Dequeue, str], Steps[Any]]
    """Dequeues from one queue."""


def dequeue_across_servers(
    op: Dequeue, queues: Sequence[str], context: CallContext, ask: DequeueFromOne
) -> Steps[Any]:
    """Return the deliveries. Returns an error only if no queue answered."""
    found: dict[str, Sequence[Delivery]] = {}
    refusals: list[Any] = []
    asked: Counter[str] = Counter()
    exhausted: set[str] = set()
    # The first round asks every queue: an earlier copy of this call may have taken tasks from it.
    to_ask: Collection[str] = queues
    while to_ask:
        asked += _demand(op, found, exhausted)
        runs = [ask(replace(op, orders=((queue,),) * asked[queue]), queue) for queue in to_ask]
        for queue, answer in zip(to_ask, (yield from interleaved(runs)), strict=True):
            if not isinstance(answer, tuple):
                refusals.append(answer)
                exhausted.add(queue)
                continue
            found[queue] = with_times(answer, found.get(queue, ()))
            if len(answer) < asked[queue]:
                exhausted.add(queue)
        to_ask = list(_demand(op, found, exhausted))
    if refusals and not found:
        return refusals[0]
    deliveries = [delivery for queue in queues for delivery in found.get(queue, ())]
    return (yield from _no_more_than(len(op.orders), deliveries, context))


def with_times(deliveries: Sequence[Delivery], earlier: Sequence[Delivery]) -> Sequence[Delivery]:
    """The deliveries, and since when those were pending that an earlier round has delivered already.

    The rounds of a call have one token. Each is told of the tasks that the others took, but not their times.
    """
    times = {delivery.lease: delivery.pending_since for delivery in earlier if delivery.pending_since}
    if not times:
        return deliveries
    return tuple(
        replace(each, pending_since=times.get(each.lease, each.pending_since)) for each in deliveries
    )


def _demand(op: Dequeue, found: dict[str, Sequence[Delivery]], exhausted: set[str]) -> Counter[str]:
    """The number of tasks to request from each queue: for each order without a task, from its next queue."""
    left = Counter({queue: len(deliveries) for queue, deliveries in found.items()})
    missing = len(op.orders) - left.total()
    demand: Counter[str] = Counter()
    for order in op.orders:
        has = next((queue for queue in order if left[queue]), None)
        if has is not None:
            left[has] -= 1
            continue
        asks = next((queue for queue in order if queue not in exhausted), None)
        if asks is not None and demand.total() < missing:
            demand[asks] += 1
    return demand


def _no_more_than(wanted: int, deliveries: list[Delivery], context: CallContext) -> Steps[Any]:
    """Requeue surplus deliveries. An earlier copy of the call took them without the knowledge of this one."""
    surplus = [Requeue(delivery=delivery) for delivery in deliveries[wanted:]]
    if surplus:
        yield from HANDLERS[Requeue](surplus, context)
    return tuple(deliveries[:wanted])
