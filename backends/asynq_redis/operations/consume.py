"""Dequeue."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import redis
from msgspec.structs import replace

from asynq.brokerkit.transitions import log_set_aside
from asynq.errors import BrokerRefusedError
from asynq.protocol.message import Delivery
from asynq.protocol.ops import MAX_BATCH, Dequeue
from asynq_redis.lua.scripts import DEQUEUE
from asynq_redis.operations.cluster_dequeue import dequeue_across_servers, with_times
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire.keys import QueueKeys, keys_of
from asynq_redis.wire.times import nanoseconds_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis.transport.requests import Arg, Reply

_ROUNDS = 4
"""Maximum attempts of a Dequeue to replace tasks that are missing or undecodable."""
_MANY = 32
"""Above this number, empty queues are excluded first: one script over all would block the server."""


def _dequeue(op: Dequeue, context: CallContext) -> Steps[Any]:
    if len(op.orders) > MAX_BATCH:
        raise ValueError(f"orders: at most {MAX_BATCH} in a call, not {len(op.orders)}")
    queues = tuple(dict.fromkeys(chain.from_iterable(op.orders)))
    if context.clustered and len(queues) > 1:
        return dequeue_across_servers(op, queues, context, lambda part, queue: _ask(part, (queue,), context))
    if len(queues) > _MANY:
        return _ask_many(op, queues, context)
    return _ask(op, queues, context)


def _ask_many(op: Dequeue, queues: Sequence[str], context: CallContext) -> Steps[Any]:
    """Dequeue from those of many queues that have anything."""
    queues = yield from _with_anything(op, queues)
    if not queues or isinstance(queues, redis.RedisError):
        return queues
    op = replace(op, orders=tuple(_among(order, frozenset(queues)) for order in op.orders))
    return (yield from _ask(op, queues, context))


def _with_anything(op: Dequeue, queues: Sequence[str]) -> Steps[Any]:
    """Return the queues with pending tasks or with tasks that an earlier copy took, or an error."""
    keys = [QueueKeys(queue) for queue in queues]
    counts = yield [Command(("EXISTS", of.pending, of.taken(op.token))) for of in keys]
    if refused := next((count for count in counts if isinstance(count, redis.RedisError)), None):
        return refused
    return tuple(queue for queue, count in zip(queues, counts, strict=True) if count)


def _among(order: tuple[str, ...], queues: frozenset[str]) -> tuple[str, ...]:
    return tuple(queue for queue in order if queue in queues)


def _ask(op: Dequeue, queues: Sequence[str], context: CallContext) -> Steps[Any]:
    """Dequeue from queues on one server. Without orders, return what an earlier copy of the call took.

    Sending the call again replaces unusable tasks and keeps the tasks already taken.
    """
    if not queues:
        return ()
    sent = context.time.mark()
    call = _dequeue_call(op, queues, context)
    requests: list[Request] = [call]
    deliveries: Sequence[Delivery] = ()
    for _ in range(_ROUNDS):
        reply = (yield requests)[-1]
        if isinstance(reply, redis.RedisError):
            return tuple(deliveries) or reply
        dropped, refused, now = reply[-3:]
        context.time.update(now, sent=sent)
        if refused and len(refused) == len(queues):
            return BrokerRefusedError(refused[0][1].decode(errors="replace"))
        delivered, undecodable = _read(op, queues, reply)
        deliveries = with_times(delivered, deliveries) if deliveries else delivered
        if not undecodable and (not dropped or len(deliveries) == len(op.orders)):
            break
        for task in undecodable:
            log_set_aside(task.queue, task.task_id, str(task.why))
        requests = [*(task.set_aside(context) for task in undecodable), call]
    else:
        # No further attempt, but tasks that were taken and cannot be delivered must be released.
        if set_asides := requests[:-1]:
            yield set_asides
    return tuple(deliveries)


implements(Dequeue)(per_operation(_dequeue))


def _dequeue_call(op: Dequeue, queues: Sequence[str], context: CallContext) -> ScriptCall:
    keys: list[str] = []
    facts: list[str | int] = []
    for queue in queues:
        of = keys_of(queue)
        keys += (of.pending, of.active, of.lease, of.paused, of.taken(op.token))
        facts += (of.prefix, op.limits.get(queue, ""))
    numbers = {queue: str(number) for number, queue in enumerate(queues, start=1)}
    # Most orders are the same.
    words = {order: " ".join([numbers[queue] for queue in order]) for order in set(op.orders)}
    orders = [words[order] for order in op.orders]
    since = "1" if op.since else ""
    args: list[Arg] = [context.now_argument(), op.token, op.lease, since, *facts, *orders]
    return ScriptCall(DEQUEUE, keys, args, size=0)  # short words


def _read(op: Dequeue, queues: Sequence[str], reply: Reply) -> tuple[list[Delivery], list[Undecodable]]:
    """The deliveries in the reply to a call, and the tasks that cannot be delivered."""
    ids, messages, numbers, odd, since, expires_at, _, _, now = reply
    details = {place: rest for place, *rest in odd or ()}
    deliveries: list[Delivery] = []
    undecodable: list[Undecodable] = []
    for place, (raw_id, data) in enumerate(zip(ids, messages, strict=True), start=1):
        message = read_message(queues[numbers[place - 1] - 1] if numbers else queues[0], raw_id, data)
        if isinstance(message, Undecodable):
            undecodable.append(message)
            continue
        losses, cancel, expires = 0, "", expires_at
        if place in details:
            other, losses, raw_cancel = details[place]
            cancel, expires = raw_cancel.decode(errors="replace"), other or expires_at
        deliveries.append(
            Delivery(
                message=message,
                token=op.token,
                expires_at=expires,
                lease_losses=losses,
                cancel=cancel,
                delivered_at=now,
                pending_since=nanoseconds_instant(since[place - 1]) if since else 0,
            )
        )
    return deliveries, undecodable
