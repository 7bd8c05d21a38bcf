"""EnqueueTick, GetLastTick."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import redis

from asynq.protocol.ops import EnqueueTick, GetLastTick, Ticked
from asynq_redis.lua.scripts import ENQUEUE_TICK
from asynq_redis.operations.calls import OneRound, OpenCall
from asynq_redis.operations.execution import HANDLERS, CallContext, Steps, implements, per_operation
from asynq_redis.operations.one_round import append_enqueue, enqueue_size, read_enqueued, target_keys
from asynq_redis.transport.requests import Command
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from asynq_redis.transport.requests import Reply

_DECIDED, _EARLY = 2, 3


def _append(op: EnqueueTick, call: OpenCall, context: CallContext) -> None:
    call.keys.append(call.queue.last_tick(op.entry_id))
    call.args += (op.tick, op.keep)
    append_enqueue(op.enqueue, call, context)


def _read(op: EnqueueTick, reply: Reply) -> Any:
    code, *rest = reply
    if code == _DECIDED:
        return Ticked()
    if code == _EARLY:
        return Ticked(early=rest[0])
    answer = read_enqueued(op.enqueue, reply)
    return answer if isinstance(answer, Exception) else Ticked(enqueued=answer)


HANDLERS[EnqueueTick] = OneRound(
    script=ENQUEUE_TICK,
    queue=lambda op: op.enqueue.message.queue,
    fixed_keys=target_keys,
    size=lambda op: enqueue_size(op.enqueue),
    append=_append,
    read=_read,
    creates_tasks=True,
).steps


def _last_tick(op: GetLastTick, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [reply] = yield [Command(("GET", QueueKeys(op.queue).last_tick(op.entry_id)))]
    if isinstance(reply, redis.RedisError):
        return reply
    found = re.match(rb"\d+", reply or b"")
    return int(found[0]) if found else None


implements(GetLastTick)(per_operation(_last_tick))
