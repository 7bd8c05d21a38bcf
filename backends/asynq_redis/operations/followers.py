"""TakeParents, FinishParent, Arrive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import TaskNotFoundError
from asynq.protocol.followers import HELD, LONGEST_RETENTION, RESULT_HEADER, members_header
from asynq.protocol.message import StoredTask
from asynq.protocol.ops import MAX_BATCH, Arrive, FinishParent, TakeParents
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import ARRIVE, FINISH_PARENT, TAKE_PARENTS
from asynq_redis.operations.empty_queues import unless_empty
from asynq_redis.operations.execution import implements, per_operation
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys
from asynq_redis.wire.times import score_instant

if TYPE_CHECKING:
    from asynq_redis.operations.execution import CallContext, Steps


def _take(op: TakeParents, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    limit = min(MAX_BATCH, op.limit)
    args = (context.now_argument(), keys.prefix, LONGEST_RETENTION, HELD, op.hold, limit)
    [reply] = yield [ScriptCall(TAKE_PARENTS, (keys.completed, keys.archived), args)]
    if isinstance(reply, redis.RedisError):
        return reply
    parents: list[StoredTask] = []
    for raw_id, data, result, score in reply:
        message = read_message(op.queue, raw_id, data)
        if isinstance(message, Undecodable):
            continue  # nothing says that other tasks follow it
        due_at = score_instant(score)
        parents.append(StoredTask(message=message, state=TaskState.COMPLETED, due_at=due_at, result=result))
    return tuple(parents)


implements(TakeParents)(unless_empty(per_operation(_take), lambda keys: (keys.completed,), ()))


def _finish(op: FinishParent, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    args = (context.now_argument(), op.task_id, op.held_until // 1000, op.retention)
    [reply] = yield [ScriptCall(FINISH_PARENT, (keys.completed, keys.task(op.task_id)), args)]
    return reply if isinstance(reply, redis.RedisError) else reply == 1


implements(FinishParent)(per_operation(_finish))


def _arrive(op: Arrive, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    header = task_message.encode_header(f"{RESULT_HEADER}{op.member}", op.result)
    # As one of those that the header of the task names.
    named = members_header([(op.member_queue, op.member_id)])[1:-1]
    args = (context.now_argument(), op.task_id, op.member, op.members, named, header)
    [reply] = yield [ScriptCall(ARRIVE, (keys.pending, keys.scheduled, keys.task(op.task_id)), args)]
    return TaskNotFoundError(op.queue, op.task_id) if reply == -1 else reply


implements(Arrive)(per_operation(_arrive))
