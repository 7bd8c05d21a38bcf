"""AcquireSlot, ReleaseSlot, TakeToken."""

from __future__ import annotations

from typing import Any

import redis

from asynq.protocol.ops import AcquireSlot, ReleaseSlot, TakeToken
from asynq_redis.lua.scripts import ACQUIRE_SLOT, TAKE_TOKEN
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import rate, semaphore, with_neighbour


def _acquire(op: AcquireSlot, context: CallContext) -> Steps[Any]:
    args = (context.now_argument(), op.holder, op.limit, op.hold)
    [reply] = yield [ScriptCall(ACQUIRE_SLOT, with_neighbour(semaphore(op.scope)), args)]
    return reply if isinstance(reply, redis.RedisError) else reply == 1


implements(AcquireSlot)(per_operation(_acquire))


def _release(op: ReleaseSlot, context: CallContext) -> Steps[Any]:
    request = Command(("ZREM", semaphore(op.scope), op.holder))
    [reply] = yield [request]
    return reply if isinstance(reply, redis.RedisError) else reply == 1 or context.was_resent(request)


implements(ReleaseSlot)(per_operation(_release))


def _take(op: TakeToken, context: CallContext) -> Steps[Any]:
    args = (context.now_argument(), op.limit, op.per)
    [reply] = yield [ScriptCall(TAKE_TOKEN, with_neighbour(rate(op.scope)), args)]
    return reply


implements(TakeToken)(per_operation(_take))
