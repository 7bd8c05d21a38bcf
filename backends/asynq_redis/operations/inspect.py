"""GetHistory, GetMemory."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import QueueNotFoundError
from asynq.protocol.history import DayStats
from asynq.protocol.ops import GetHistory, GetMemory
from asynq_redis.lua.scripts import QUEUE_HISTORY, QUEUE_MEMORY
from asynq_redis.operations.execution import implements, per_operation
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys

if TYPE_CHECKING:
    from asynq_redis.operations.execution import CallContext, Steps


def _of_known_queue(queue: str, call: ScriptCall) -> Steps[Any]:
    """Return the reply of a script, or an error if the queue is unknown."""
    known, reply = yield [Command(("SISMEMBER", ALL_QUEUES, queue)), call]
    if isinstance(known, redis.RedisError):
        return known
    return reply if known else QueueNotFoundError(queue)


def _history(op: GetHistory, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    call = ScriptCall(QUEUE_HISTORY, (keys.processed, keys.failed), (context.now_argument(), op.days))
    reply = yield from _of_known_queue(op.queue, call)
    if not isinstance(reply, list):
        return reply
    return tuple(
        DayStats(
            queue=op.queue,
            date=date.fromisoformat(day.decode()),
            processed=int(processed),
            failed=int(failed),
        )
        for day, processed, failed in reply
    )


implements(GetHistory)(per_operation(_history))


def _memory(op: GetMemory, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    keys = QueueKeys(op.queue)
    names = (
        keys.pending,
        keys.active,
        keys.scheduled,
        keys.retry,
        keys.archived,
        keys.completed,
        keys.groups,
    )
    return _of_known_queue(op.queue, ScriptCall(QUEUE_MEMORY, names, (keys.prefix,)))


implements(GetMemory)(per_operation(_memory))
