"""Enqueue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import BrokerRefusedError, DuplicateTaskError, TaskIDConflictError
from asynq.protocol.ops import Enqueue, Enqueued
from asynq.task_state import TaskState
from asynq_redis.lua.scripts import ENQUEUE
from asynq_redis.operations.batching import Item, call_for_items, lock_key, run_in_calls
from asynq_redis.operations.execution import CallContext, Steps, implements
from asynq_redis.transport import redis_errors
from asynq_redis.transport.requests import Command, ScriptCall
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import ALL_QUEUES, QueueKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis.transport.requests import Reply

_MADE, _CONFLICT, _DUPLICATE = 1, 0, -1
_STATES = {state.value.encode(): state for state in TaskState}


@implements(Enqueue)
def enqueue(ops: Sequence[Enqueue], context: CallContext) -> Steps[list[Any]]:
    """Enqueue tasks, in one call per queue, in order. Each task has its own answer."""
    scripts = run_in_calls(
        [(op.message.queue, item_of(op)) for op in ops],
        lambda queue, items: _call(queue, items, context),
        lambda place, reply: answer_to(ops[place], reply),
        context,
    )
    return (yield from listing_queues([op.message.queue for op in ops], scripts, context))


def listing_queues(
    queues: Sequence[str], scripts: Steps[list[Any]], context: CallContext
) -> Steps[list[Any]]:
    """Run script calls that create tasks, and list the queues of these tasks.

    The list of queues is in a slot of its own, so the queues are added by a command next to the scripts. They
    are added every time, since another client may have removed a queue from the list. A queue that was added
    before counts as listed only while the server of that slot fails, so that enqueues on other servers work.
    """
    requests = next(scripts)
    names = tuple(dict.fromkeys(queues))
    known = context.clustered and context.known_queues.issuperset(names)
    add = Command(("SADD", ALL_QUEUES, *names), best_effort=known)
    listed, *replies = yield [add, *requests]
    try:
        scripts.send(replies)
    except StopIteration as ended:
        answers: list[Any] = ended.value
    if isinstance(listed, redis.RedisError):
        return answers if known and redis_errors.no_answer(listed) else [listed] * len(queues)
    context.known_queues.update(names)
    return answers


def _call(queue: str, items: list[Item], context: CallContext) -> ScriptCall:
    return call_for_items(ENQUEUE, target_keys(queue), (context.now_argument(),), items)


def target_keys(queue: str) -> tuple[str, ...]:
    """The keys of the queue that lua/lib/enqueue.lua takes."""
    keys = QueueKeys(queue)
    return keys.pending, keys.scheduled, keys.groups, keys.archived, keys.completed


def item_of(op: Enqueue) -> Item:
    """The keys and arguments of one task that lua/lib/enqueue.lua takes."""
    message, unique = op.message, op.unique
    if unique is not None and not message.unique_key:
        raise ValueError("unique: the message has no unique_key")
    keys = QueueKeys(message.queue)
    task = keys.task(message.id)
    return Item(
        (
            task,
            lock_key(task, message) if unique else task,
            keys.group(message.group) if message.group else task,
        ),
        (
            message.id,
            task_message.encode(message),
            "" if op.process_at is None else op.process_at,
            "" if op.process_in is None else op.process_in,
            message.group,
            op.enqueue_id,
            unique.ttl if unique else "",
            unique.until if unique else "",
            "1" if unique and unique.keep else "",
            "1" if op.on_conflict == "replace_finished" else "",
        ),
    )


def answer_to(op: Enqueue, reply: Reply) -> Any:
    """Make the answer from the script's reply for one task."""
    message = op.message
    code, detail, *rest = reply
    if code == _MADE:
        return Enqueued(state=TaskState(detail.decode()), due_at=rest[0])
    if code == _CONFLICT:
        return TaskIDConflictError(message.queue, message.id, state_named(detail))
    if code == _DUPLICATE:
        return DuplicateTaskError(message.queue, message.type, detail.decode().removeprefix("expiry:"))
    return BrokerRefusedError(detail.decode(errors="replace"))


def state_named(name: bytes) -> TaskState | None:
    """The state in a task hash. None if it is unknown."""
    return _STATES.get(name)
