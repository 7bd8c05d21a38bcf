"""EnqueueTick, GetLastTick."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import redis

from asynq.protocol.ops import EnqueueTick, GetLastTick, Ticked
from asynq_redis.lua.scripts import ENQUEUE_TICK
from asynq_redis.operations.batching import Item, call_for_items, run_in_calls
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.operations.produce import answer_to, item_of, listing_queues, target_keys
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis.transport.requests import Reply

_DECIDED, _EARLY = 2, 3


@implements(EnqueueTick)
def enqueue_tick(ops: Sequence[EnqueueTick], context: CallContext) -> Steps[list[Any]]:
    """Enqueue ticks, in one call per queue, in order. Each tick has its own answer."""
    scripts = run_in_calls(
        [(op.enqueue.message.queue, _item(op)) for op in ops],
        lambda queue, items: _call(queue, items, context),
        lambda place, reply: _answer(ops[place], reply),
        context,
    )
    return (yield from listing_queues([op.enqueue.message.queue for op in ops], scripts, context))


def _call(queue: str, items: list[Item], context: CallContext) -> ScriptCall:
    return call_for_items(ENQUEUE_TICK, target_keys(queue), (context.now_argument(),), items)


def _item(op: EnqueueTick) -> Item:
    task = item_of(op.enqueue)
    mark = QueueKeys(op.enqueue.message.queue).last_tick(op.entry_id)
    return Item((mark, *task.keys), (op.tick, op.keep, *task.args))


def _answer(op: EnqueueTick, reply: Reply) -> Any:
    code, *rest = reply
    if code == _DECIDED:
        return Ticked()
    if code == _EARLY:
        return Ticked(early=rest[0])
    answer = answer_to(op.enqueue, reply)
    return answer if isinstance(answer, Exception) else Ticked(enqueued=answer)


def _last_tick(op: GetLastTick, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [reply] = yield [Command(("GET", QueueKeys(op.queue).last_tick(op.entry_id)))]
    if isinstance(reply, redis.RedisError):
        return reply
    found = re.match(rb"\d+", reply or b"")
    return int(found[0]) if found else None


implements(GetLastTick)(per_operation(_last_tick))
