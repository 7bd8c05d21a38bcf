"""EnqueueTick, GetLastTick, WriteSchedule, PauseSchedule, DeleteSchedule, ListSchedules."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import redis

from asynq.protocol.ops import (
    DeleteSchedule,
    EnqueueTick,
    GetLastTick,
    ListSchedules,
    PauseSchedule,
    Ticked,
    WriteSchedule,
)
from asynq.protocol.schedules import decode_schedule, encode_schedule
from asynq_redis.lua.scripts import ENQUEUE_TICK, PAUSE_SCHEDULE, WRITE_SCHEDULE
from asynq_redis.operations.calls import OneRound, OpenCall
from asynq_redis.operations.execution import HANDLERS, CallContext, Steps, implements, per_operation
from asynq_redis.operations.one_round import append_enqueue, enqueue_size, read_enqueued, target_keys
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire.keys import ALL_SCHEDULES, QueueKeys, with_neighbour

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
    return _instant(reply) or None


def _instant(stored: bytes | None) -> int:
    """A stored instant; 0 for none."""
    found = re.match(rb"\d+", stored or b"")
    return int(found[0]) if found else 0


implements(GetLastTick)(per_operation(_last_tick))


def _write_schedule(op: WriteSchedule, context: CallContext) -> Steps[Any]:
    args = (context.now_argument(), op.schedule.name, encode_schedule(op.schedule))
    [reply] = yield [ScriptCall(WRITE_SCHEDULE, with_neighbour(ALL_SCHEDULES), args)]
    return reply if isinstance(reply, redis.RedisError) else None


implements(WriteSchedule)(per_operation(_write_schedule))


def _pause_schedule(op: PauseSchedule, context: CallContext) -> Steps[Any]:
    args = (context.now_argument(), op.name, "1" if op.paused else "")
    [reply] = yield [ScriptCall(PAUSE_SCHEDULE, with_neighbour(ALL_SCHEDULES), args)]
    return reply if isinstance(reply, redis.RedisError) else reply == 1


implements(PauseSchedule)(per_operation(_pause_schedule))


def _delete_schedule(op: DeleteSchedule, context: CallContext) -> Steps[Any]:
    request = Command(("HDEL", ALL_SCHEDULES, f"s:{op.name}", f"p:{op.name}", f"t:{op.name}"), durable=True)
    [reply] = yield [request]
    if isinstance(reply, redis.RedisError):
        return reply
    return reply > 0 or context.was_resent(request)


implements(DeleteSchedule)(per_operation(_delete_schedule))


def _list_schedules(op: ListSchedules, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [reply] = yield [Command(("HGETALL", ALL_SCHEDULES))]
    if isinstance(reply, redis.RedisError):
        return reply
    fields = reply if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))
    found = (
        decode_schedule(
            record, paused=b"p:" + field[2:] in fields, since=_instant(fields.get(b"t:" + field[2:]))
        )
        for field, record in fields.items()
        if field.startswith(b"s:")
    )
    return tuple(sorted(filter(None, found), key=lambda schedule: schedule.name))


implements(ListSchedules)(per_operation(_list_schedules))
