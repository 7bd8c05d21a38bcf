"""RunTask, ArchiveTask, DeleteTask, MoveTasks, UpdateTask, CancelTask, DeleteQueue."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import redis
from msgspec.structs import replace

from asynq.errors import (
    AsynqError,
    BrokerUnavailable,
    DuplicateTaskError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskNotFoundError,
    TaskStateError,
)
from asynq.protocol.followers import is_joining
from asynq.protocol.message import QueueStats
from asynq.protocol.ops import (
    MAX_BATCH,
    ArchiveTask,
    CancelTask,
    DeleteQueue,
    DeleteTask,
    Deletion,
    GetQueueStats,
    MoveTasks,
    RunTask,
    UpdateTask,
)
from asynq.protocol.uniqueness import key_with_payload
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import CANCEL, DELETE_QUEUE, LIST_QUEUES, MOVE, MOVE_FIRST, UPDATE_TASK
from asynq_redis.operations.calls import OneRound, OpenCall, lock_key
from asynq_redis.operations.control import collection_of, queue_stats
from asynq_redis.operations.execution import HANDLERS, implements, per_operation
from asynq_redis.operations.one_round import state_named
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, CANCEL_CHANNEL, CANCEL_REQUESTS, QueueKeys, with_neighbour

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Reply

_MOVED, _REFUSED, _WAITS = 1, -1, -2
_OURS, _THEIRS = 1, 2
_UPDATE_ATTEMPTS = 10
"""Maximum attempts. A task that changes on every attempt is being processed and stays as it is."""


# --- moving ---------------------------------------------------------------------------------------------


def stations(keys: QueueKeys) -> tuple[str, ...]:
    """The keys that lua/lib/manage.lua takes."""
    return (keys.pending, keys.scheduled, keys.retry, keys.archived, keys.completed, keys.groups)


def _mover(to: str, verb: str) -> OneRound:
    """An operation that moves single tasks."""

    def append(op: Any, call: OpenCall, context: CallContext) -> None:  # noqa: ARG001 - see OneRound.append
        call.keys.append(call.queue.task(op.task_id))
        call.args.append(op.task_id)

    def read(op: Any, reply: Reply) -> Any:
        code, *state = reply
        if code == _MOVED:
            return None
        found = state_named(state[0]) if code == _REFUSED else None
        if found is None:
            return TaskNotFoundError(op.queue, op.task_id)
        return TaskStateError(op.queue, op.task_id, found, verb)

    return OneRound(
        script=MOVE,
        queue=lambda op: op.queue,
        fixed_keys=stations,
        fixed_args=lambda keys, context: (context.now_argument(), keys.prefix, to),
        bounds=_bounds,
        append=append,
        read=read,
    )


def _task_key(op: UpdateTask) -> str:
    return QueueKeys(op.queue).task(op.task_id)


def _bounds(op: RunTask | ArchiveTask | DeleteTask) -> tuple[int, int]:
    return (op.max_size, op.max_age) if isinstance(op, ArchiveTask) else (0, 0)


HANDLERS[RunTask] = _mover("pending", "run").steps
HANDLERS[ArchiveTask] = _mover("archived", "archive").steps
HANDLERS[DeleteTask] = _mover("deleted", "delete").steps


def _move_first(op: MoveTasks, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    [known] = yield [Command(("SISMEMBER", ALL_QUEUES, op.queue))]
    if isinstance(known, redis.RedisError):
        return known
    if not known:
        return QueueNotFoundError(op.queue)
    source, _ = collection_of(keys, op.state, op.group)
    names = (*stations(keys), source, keys.lease)
    moved, wanted, looked_at = 0, 0, 0
    while moved < op.limit and looked_at == wanted:
        wanted = min(MAX_BATCH, op.limit - moved)
        args = (keys.prefix, op.state.value, op.to, wanted, op.max_size, op.max_age, op.group)
        [reply] = yield [ScriptCall(MOVE_FIRST, names, (context.now_argument(), *args))]
        if isinstance(reply, redis.RedisError):
            return reply
        moved, looked_at = moved + reply[0], reply[1]
    return moved


implements(MoveTasks)(per_operation(_move_first))


# --- updating --------------------------------------------------------------------------------------------


def _update_task(op: UpdateTask, context: CallContext) -> Steps[Any]:
    """After a lost reply, an error leaves open whether the first copy was applied."""
    answer = yield from _change(op, context)
    if isinstance(answer, AsynqError) and any(map(_changes(op), context.resent.values())):
        return BrokerUnavailable(f"the reply was lost, and now {answer}", maybe_applied=True)
    return answer


def _changes(op: UpdateTask) -> Callable[[Request], bool]:
    """Make a predicate for requests that update this task."""
    task = _task_key(op)
    return lambda request: (
        isinstance(request, ScriptCall) and request.script is UPDATE_TASK and request.key == task
    )


def _change(op: UpdateTask, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    task = _task_key(op)
    for _ in range(_UPDATE_ATTEMPTS):
        [found] = yield [Command(("HMGET", task, "msg", "state", "group"))]
        if isinstance(found, redis.RedisError):
            return found
        data, name, group = found
        message = read_message(op.queue, op.task_id.encode(), data) if data else None
        state = state_named(name or b"")
        if message is None or isinstance(message, Undecodable) or state is None:
            return TaskNotFoundError(op.queue, op.task_id)
        refusal = TaskStateError(op.queue, op.task_id, state, "update")
        if state not in op.states:
            break
        new = message
        if op.payload is not None:
            new = replace(message, payload=op.payload, unique_key=key_with_payload(message, op.payload))
        names = (
            keys.group(group.decode(errors="replace")) if group else task,
            lock_key(task, message),
            lock_key(task, new),
            keys.retry if state is TaskState.RETRY else keys.scheduled,
        )
        due = "" if op.process_at is None else op.process_at, "" if op.process_in is None else op.process_in
        joins = "1" if is_joining(message) else ""
        args = (context.now_argument(), op.task_id, data, task_message.encode(new), state.value, joins, *due)
        [reply] = yield [ScriptCall(UPDATE_TASK, (task, keys.pending, *names), args)]
        if isinstance(reply, redis.RedisError):
            return reply
        code, *holder = reply
        if code == _MOVED:
            return None
        if code == _WAITS:
            break
        if code == _REFUSED:
            return DuplicateTaskError(op.queue, new.type, holder[0].decode().removeprefix("expiry:"))
    return refusal


implements(UpdateTask)(per_operation(_update_task))


# --- cancellation ---------------------------------------------------------------------------------------


def _cancel(op: CancelTask, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    queues = [op.queue] if op.queue is not None else []
    if op.queue is None:
        [names] = yield [Command(("SMEMBERS", ALL_QUEUES))]
        if isinstance(names, redis.RedisError):
            return names
        queues = [name.decode(errors="replace") for name in names]
    if not queues:
        return False
    asked = [QueueKeys(queue) for queue in queues]
    replies = yield [
        ScriptCall(CANCEL, (keys.task(op.task_id), keys.lease), (op.task_id, op.then)) for keys in asked
    ]
    messages: list[Request] = []
    for queue, reply in zip(queues, replies, strict=True):
        if isinstance(reply, redis.RedisError):
            return reply
        if reply == _OURS:
            request = json.dumps({"id": op.task_id, "queue": queue, "then": op.then})
            messages.append(Command(("PUBLISH", CANCEL_REQUESTS, request)))
        elif reply == _THEIRS:
            messages.append(Command(("PUBLISH", CANCEL_CHANNEL, op.task_id)))
    if messages:
        # If publishing fails, nobody is notified, but the workers still find the recorded request.
        yield messages
    return bool(messages)


implements(CancelTask)(per_operation(_cancel))


# --- whole queues ---------------------------------------------------------------------------------------


def _delete_queue(op: DeleteQueue, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    names = (
        *(keys.pending, keys.active, keys.lease, keys.scheduled, keys.retry, keys.archived, keys.completed),
        *(keys.groups, keys.aggregation_sets, keys.paused, keys.processed, keys.failed, keys.sequences),
    )
    [known] = yield [Command(("SISMEMBER", ALL_QUEUES, op.queue))]
    if isinstance(known, redis.RedisError):
        return known
    if not known:
        return QueueNotFoundError(op.queue)
    deleted, gone = 0, 0
    while not gone and deleted < op.limit:
        limit = min(MAX_BATCH, op.limit - deleted)
        args = (context.now_argument(), keys.prefix, "1" if op.force else "", limit)
        [reply] = yield [ScriptCall(DELETE_QUEUE, names, args)]
        if isinstance(reply, redis.RedisError):
            return reply
        gone, count = reply
        if gone == _REFUSED:
            return (yield from _not_empty(op, context, count))
        deleted += count
    if not gone:
        return Deletion(tasks=deleted, done=False)
    return (yield from _unlist(keys, deleted))


implements(DeleteQueue)(per_operation(_delete_queue))


def _not_empty(op: DeleteQueue, context: CallContext, active: int) -> Steps[Any]:
    if op.force:
        return QueueNotEmptyError(op.queue, active)
    stats = yield from queue_stats(GetQueueStats(queue=op.queue), context)
    return QueueNotEmptyError(op.queue, max(stats.size, 1)) if isinstance(stats, QueueStats) else stats


def _unlist(keys: QueueKeys, deleted: int) -> Steps[Any]:
    """Remove the queue from the list. If a task arrived meanwhile, list it again."""
    holding = (keys.pending, keys.active, keys.scheduled, keys.retry, keys.groups)
    # The order matters: an enqueue either lists the queue after this removal, or its task is seen here.
    [removed] = yield [Command(("SREM", ALL_QUEUES, keys.queue))]
    if isinstance(removed, redis.RedisError):
        return removed
    [tasks] = yield [Command(("EXISTS", *holding))]
    if isinstance(tasks, redis.RedisError):
        return tasks
    if tasks:
        [listed] = yield [ScriptCall(LIST_QUEUES, with_neighbour(ALL_QUEUES), (keys.queue,))]
        if isinstance(listed, redis.RedisError):
            return listed
    return Deletion(tasks=deleted, done=True)
