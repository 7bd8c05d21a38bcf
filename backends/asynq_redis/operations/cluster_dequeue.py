"""Dequeue from queues on different servers: one call for each queue, all of them at the same time.

Each wanted task is first asked of the queue it prefers. What a queue did not have is asked of the next
preferred one, so that priorities hold and no more is taken than is wanted.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from attrs import evolve

from asynq.protocol.ops import Requeue
from asynq_redis.operations.steps import HANDLERS, Env, Steps, side_by_side

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Dequeue

    FromOne = Callable[[Dequeue, str], Steps[Any]]
    """Asks one queue."""


def dequeue_apart(op: Dequeue, queues: Sequence[str], env: Env, ask: FromOne) -> Steps[Any]:
    """The deliveries; an error only where no queue gave an answer."""
    found: dict[str, Sequence[Delivery]] = {}
    refusals: list[Any] = []
    asked: Counter[str] = Counter()
    dry: set[str] = set()
    # In the first round every queue is asked, if only for what an earlier copy of this call took.
    to_ask: Collection[str] = queues
    while to_ask:
        asked += _wishes(op, found, dry)
        runs = [ask(evolve(op, orders=((queue,),) * asked[queue]), queue) for queue in to_ask]
        for queue, answer in zip(to_ask, (yield from side_by_side(runs)), strict=True):
            if not isinstance(answer, tuple):
                refusals.append(answer)
                dry.add(queue)
                continue
            found[queue] = answer
            if len(answer) < asked[queue]:
                dry.add(queue)
        to_ask = list(_wishes(op, found, dry))
    if refusals and not found:
        return refusals[0]
    deliveries = [delivery for queue in queues for delivery in found.get(queue, ())]
    return (yield from _no_more_than(len(op.orders), deliveries, env))


def _wishes(op: Dequeue, found: dict[str, Sequence[Delivery]], dry: set[str]) -> Counter[str]:
    """How many more tasks to ask of which queue: for each order without one, of the next in line."""
    left = Counter({queue: len(deliveries) for queue, deliveries in found.items()})
    missing = len(op.orders) - left.total()
    wishes: Counter[str] = Counter()
    for order in op.orders:
        has = next((queue for queue in order if left[queue]), None)
        if has is not None:
            left[has] -= 1
            continue
        asks = next((queue for queue in order if queue not in dry), None)
        if asks is not None and wishes.total() < missing:
            wishes[asks] += 1
    return wishes


def _no_more_than(wanted: int, deliveries: list[Delivery], env: Env) -> Steps[Any]:
    """Give back what is too much: an earlier copy of the call held it where this one did not know of it."""
    surplus = [Requeue(delivery=delivery) for delivery in deliveries[wanted:]]
    if surplus:
        yield from HANDLERS[Requeue](surplus, env)
    return tuple(deliveries[:wanted])
