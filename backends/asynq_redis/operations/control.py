"""Ping, PauseQueue, UnpauseQueue, ListQueues, GetQueueStats, GetTask, ListTasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import QueueNotFoundError, TaskNotFoundError
from asynq.protocol.message import QueueStats, StoredTask
from asynq.protocol.ops import (
    MAX_BATCH,
    GetQueueStats,
    GetTask,
    ListQueues,
    ListTasks,
    PauseQueue,
    Ping,
    UnpauseQueue,
)
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import GET_TASK, LIST_TASKS, PAUSE, STATS, SUM_GROUPS
from asynq_redis.operations.execution import CallContext, Steps, implements, per_operation
from asynq_redis.operations.one_round import state_named
from asynq_redis.operations.undecodable import Undecodable, read_message
from asynq_redis.transport.requests import Command, Request, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys
from asynq_redis.wire.times import nanoseconds_instant, score_instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.message import TaskMessage
    from asynq_redis.transport.requests import Reply


def _refusal(*replies: Reply) -> Reply:
    """The first error among the replies, or None."""
    return next((reply for reply in replies if isinstance(reply, redis.RedisError)), None)


def _ping(op: Ping, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    # A server that is loading its data answers TIME, but not PING.
    sent = context.time.mark()
    pong, time = yield [Command(("PING",)), Command(("TIME",))]
    if error := _refusal(pong, time):
        return error
    seconds, microseconds = map(int, time)
    context.time.update(seconds * 1000 + microseconds // 1000, sent=sent)
    return context.milliseconds()


implements(Ping)(per_operation(_ping))


def _pause(op: PauseQueue, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    request = ScriptCall(PAUSE, (keys.paused, keys.pending), (context.now_argument(),))
    [reply] = yield [request]
    return _refusal(reply) or reply == 1 or context.was_resent(request)


implements(PauseQueue)(per_operation(_pause))


def _unpause(op: UnpauseQueue, context: CallContext) -> Steps[Any]:
    request = Command(("DEL", QueueKeys(op.queue).paused), durable=True)
    [reply] = yield [request]
    return _refusal(reply) or reply == 1 or context.was_resent(request)


implements(UnpauseQueue)(per_operation(_unpause))


def _list_queues(op: ListQueues, context: CallContext) -> Steps[Any]:  # noqa: ARG001 - every handler has these two
    [reply] = yield [Command(("SMEMBERS", ALL_QUEUES))]
    return _refusal(reply) or tuple(sorted(name.decode(errors="replace") for name in reply))


implements(ListQueues)(per_operation(_list_queues))


def queue_stats(op: GetQueueStats, context: CallContext) -> Steps[Any]:
    """Return the statistics of a queue, or an error."""
    keys = QueueKeys(op.queue)
    names = (
        keys.pending,
        keys.active,
        keys.scheduled,
        keys.retry,
        keys.archived,
        keys.completed,
        keys.groups,
        keys.paused,
        keys.processed,
        keys.failed,
    )
    known, numbers, *pages = yield [
        Command(("SISMEMBER", ALL_QUEUES, op.queue)),
        ScriptCall(STATS, names, (context.now_argument(), keys.prefix)),
        *(_sum_groups(keys, kind, b"0") for kind in _GROUPED),
    ]
    if error := _refusal(known, numbers):
        return error
    if not known:
        return QueueNotFoundError(op.queue)
    aggregating, groups, unfinished = 0, 0, list(_GROUPED)
    while unfinished:
        if error := _refusal(*pages):
            return error
        aggregating += sum(tasks for _, tasks, _ in pages)
        # Groups whose tasks are all scheduled count: Go forwards a task to its group without listing it.
        groups += sum(holding for kind, (*_, holding) in zip(unfinished, pages, strict=True) if kind == "set")
        cursors = {kind: page[0] for kind, page in zip(unfinished, pages, strict=True) if page[0] != b"0"}
        unfinished = list(cursors)
        if unfinished:
            pages = yield [_sum_groups(keys, kind, cursor) for kind, cursor in cursors.items()]
    pending, active, scheduled, retry, archived, completed, paused, *counted = numbers
    processed, failed, processed_total, failed_total, latency = map(int, counted)
    return QueueStats(
        queue=op.queue,
        pending=pending,
        active=active,
        scheduled=scheduled,
        retry=retry,
        archived=archived,
        completed=completed,
        aggregating=aggregating,
        groups=groups,
        processed=processed,
        failed=failed,
        processed_total=processed_total,
        failed_total=failed_total,
        paused=paused == 1,
        latency=latency,
    )


implements(GetQueueStats)(per_operation(queue_stats))


_GROUPED = ("set", "zset")
"""Types of the two indexes of aggregating tasks: a set of groups, and a sorted set of aggregation sets."""


def _sum_groups(keys: QueueKeys, kind: str, cursor: bytes) -> ScriptCall:
    names = keys.groups if kind == "set" else keys.aggregation_sets
    return ScriptCall(SUM_GROUPS, (names, keys.pending), (keys.prefix, kind, cursor))


def _get_task(op: GetTask, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    names = (
        keys.task(op.task_id),
        keys.lease,
        keys.scheduled,
        keys.retry,
        keys.archived,
        keys.completed,
    )
    [reply] = yield [ScriptCall(GET_TASK, names, (context.now_argument(), op.task_id))]
    if error := _refusal(reply):
        return error
    state = state_named(reply[1]) if reply else None
    if state is None:
        return TaskNotFoundError(op.queue, op.task_id)
    data, _, *facts = reply
    message = read_message(op.queue, op.task_id.encode(), data)
    if isinstance(message, Undecodable):
        message = task_message.replacement(op.queue, op.task_id, data, message.why)
    return _stored(message, state, facts)


implements(GetTask)(per_operation(_get_task))


def _list_tasks(op: ListTasks, context: CallContext) -> Steps[Any]:
    keys = QueueKeys(op.queue)
    collection, kind = collection_of(keys, op.state, op.group)
    requests: list[Request] = [Command(("SISMEMBER", ALL_QUEUES, op.queue))]
    for start in range(0, op.limit, MAX_BATCH):
        limit = min(MAX_BATCH, op.limit - start)
        args = (context.now_argument(), keys.prefix, kind, op.state.value, op.offset + start, limit)
        requests.append(ScriptCall(LIST_TASKS, (collection, keys.lease), args))
    known, *pages = yield requests
    if error := _refusal(known, *pages):
        return error
    if not known:
        return QueueNotFoundError(op.queue)
    tasks = [(read_message(op.queue, raw_id, data), facts) for page in pages for raw_id, data, *facts in page]
    return tuple(
        _stored(message, op.state, facts) for message, facts in tasks if not isinstance(message, Undecodable)
    )


implements(ListTasks)(per_operation(_list_tasks))


def collection_of(keys: QueueKeys, state: TaskState, group: str) -> tuple[str, str]:
    """The key that lists the tasks in a state, and its type."""
    return {
        TaskState.PENDING: (keys.pending, "list"),
        TaskState.ACTIVE: (keys.active, "list"),
        TaskState.SCHEDULED: (keys.scheduled, "zset"),
        TaskState.RETRY: (keys.retry, "zset"),
        TaskState.ARCHIVED: (keys.archived, "zset"),
        TaskState.COMPLETED: (keys.completed, "zset"),
        TaskState.AGGREGATING: (keys.group(group), "zset"),
    }[state]


def _stored(message: TaskMessage, state: TaskState, facts: Sequence[Reply]) -> StoredTask:
    score, pending_since, orphaned, result = facts
    timed = score and state not in {TaskState.PENDING, TaskState.AGGREGATING}
    return StoredTask(
        message=message,
        state=state,
        due_at=score_instant(score) if timed else 0,
        result=result,
        pending_since=nanoseconds_instant(pending_since) if state is TaskState.PENDING else 0,
        orphaned=orphaned == 1,
    )
