"""AcquireSlot, ReleaseSlot, TakeToken."""

from __future__ import annotations

from typing import Any

import redis

from asynq.protocol.ops import AcquireSlot, ReleaseSlot, TakeToken
from asynq_redis.lua.scripts import ACQUIRE_SLOT, TAKE_TOKEN
from asynq_redis.operations.steps import Env, Steps, alone, implements
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import rate, semaphore, with_neighbour


def _acquire(op: AcquireSlot, env: Env) -> Steps[Any]:
    args = (env.now_argument(), op.holder, op.limit, op.hold)
    [reply] = yield [ScriptCall(ACQUIRE_SLOT, with_neighbour(semaphore(op.scope)), args)]
    return reply if isinstance(reply, redis.RedisError) else reply == 1


implements(AcquireSlot)(alone(_acquire))


def _release(op: ReleaseSlot, env: Env) -> Steps[Any]:
    request = Command(("ZREM", semaphore(op.scope), op.holder))
    [reply] = yield [request]
    return reply if isinstance(reply, redis.RedisError) else reply == 1 or env.was_resent(request)


implements(ReleaseSlot)(alone(_release))


def _take(op: TakeToken, env: Env) -> Steps[Any]:
    args = (env.now_argument(), op.limit, op.per)
    [reply] = yield [ScriptCall(TAKE_TOKEN, with_neighbour(rate(op.scope)), args)]
    return reply


implements(TakeToken)(alone(_take))
