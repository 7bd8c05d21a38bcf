"""AcquireSlot, ReleaseSlot, TakeToken."""

from __future__ import annotations

from typing import Any

import redis

from asynq.ops import AcquireSlot, ReleaseSlot, TakeToken
from asynq_redis.keys import rate, semaphore
from asynq_redis.scripts import ACQUIRE_SLOT, TAKE_TOKEN
from asynq_redis.steps import Command, Env, ScriptCall, Steps, alone, implements


def _acquire(op: AcquireSlot, env: Env) -> Steps[Any]:
    args = (env.now_argument(), op.holder, op.limit, op.hold)
    [reply] = yield [ScriptCall(ACQUIRE_SLOT, _with_neighbour(semaphore(op.scope)), args)]
    return reply if isinstance(reply, redis.RedisError) else reply == 1


implements(AcquireSlot)(alone(_acquire))


def _release(op: ReleaseSlot, env: Env) -> Steps[Any]:
    request = Command(("ZREM", semaphore(op.scope), op.holder))
    [reply] = yield [request]
    return reply if isinstance(reply, redis.RedisError) else reply == 1 or env.was_resent(request)


implements(ReleaseSlot)(alone(_release))


def _take(op: TakeToken, env: Env) -> Steps[Any]:
    args = (env.now_argument(), op.limit, op.per)
    [reply] = yield [ScriptCall(TAKE_TOKEN, _with_neighbour(rate(op.scope)), args)]
    return reply


implements(TakeToken)(alone(_take))


def _with_neighbour(key: str) -> tuple[str, str]:
    """The key, and one of its slot: with a single key a slot in motion would not answer TRYAGAIN."""
    tag = key[key.find("{") + 1 :].partition("}") if "{" in key else ("", "", "")
    return key, f"{key}:" if tag[0] and tag[1] else f"{{{key}}}:"
