"""Done, Complete, Retry, Archive, Requeue: the ends of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve

from asynq.errors import LeaseLostError
from asynq.protocol.ops import Archive, Complete, Done, Requeue, Retry
from asynq_redis.lua.scripts import ARCHIVE, COMPLETE, DONE, REQUEUE, RETRY
from asynq_redis.operations.batching import Item, in_calls, item_call, lock_or
from asynq_redis.operations.consume import lease_lost
from asynq_redis.operations.steps import implements
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from asynq_redis.operations.steps import Env, Steps
    from asynq_redis.transport.requests import Arg, ScriptCall

    Settlement = Done | Complete | Retry | Archive | Requeue


def _maybe_ended(answer: Any) -> Any:
    """A lease that is lost to a copy was most likely ended by the first one."""
    return evolve(answer, maybe_applied=True) if isinstance(answer, LeaseLostError) else answer


def _settle(
    ops: Sequence[Any],
    env: Env,
    args: Callable[[Any], tuple[Arg, ...]],
    call: Callable[[Any, QueueKeys, list[Item], list[str]], ScriptCall],
    bounds: Callable[[Any], Hashable] = lambda _: None,
) -> Steps[list[Any]]:
    """Settle the tasks of one queue in calls of several.

    `args` are an operation's own arguments behind id and token; `bounds` what all of a call must share.
    """

    def item(op: Settlement) -> Item:
        message, token = op.delivery.message, op.delivery.token
        keys = QueueKeys(message.queue)
        task = keys.task(message.id)
        return Item((task, lock_or(task, message)), (message.id, token, *args(op)))

    def make(common: tuple[str, Any], items: list[Item]) -> ScriptCall:
        queue, shared = common
        keys = QueueKeys(queue)
        tokens = dict.fromkeys(str(item.args[1]) for item in items)
        return call(shared, keys, items, [keys.taken(token) for token in tokens])

    return (
        yield from in_calls(
            [((op.delivery.message.queue, bounds(op)), item(op)) for op in ops],
            make,
            lambda place, reply: None if reply else lease_lost(ops[place].delivery.lease),
            env,
            resent=_maybe_ended,
        )
    )


@implements(Done)
def done(ops: Sequence[Done], env: Env) -> Steps[list[Any]]:
    """Delete finished tasks."""
    return _settle(
        ops,
        env,
        lambda _: (),
        lambda _, keys, items, taken: item_call(
            DONE,
            (keys.active, keys.lease, keys.processed, keys.failed),
            (env.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Complete)
def complete(ops: Sequence[Complete], env: Env) -> Steps[list[Any]]:
    """Keep finished tasks until their retention ends."""

    def args(op: Complete) -> tuple[Arg, ...]:
        stored = op.delivery.message
        message = evolve(stored, completed_at=env.seconds())
        result = op.result
        return (
            task_message.encode_change(stored, message),
            message.retention,
            "" if result is None else "1",
            "" if result is None else result,
        )

    return _settle(
        ops,
        env,
        args,
        lambda _, keys, items, taken: item_call(
            COMPLETE,
            (keys.active, keys.lease, keys.completed, keys.processed, keys.failed),
            (env.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Retry)
def retry(ops: Sequence[Retry], env: Env) -> Steps[list[Any]]:
    """Move tasks to retry."""

    def args(op: Retry) -> tuple[Arg, ...]:
        message = task_message.failed(op.delivery.message, op.error, env.seconds(), spent=int(op.failure))
        return (task_message.encode_change(op.delivery.message, message), op.delay, "1" if op.failure else "")

    return _settle(
        ops,
        env,
        args,
        lambda _, keys, items, taken: item_call(
            RETRY,
            (keys.active, keys.lease, keys.retry, keys.processed, keys.failed),
            (env.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Archive)
def archive(ops: Sequence[Archive], env: Env) -> Steps[list[Any]]:
    """Move tasks to the archive."""

    def args(op: Archive) -> tuple[Arg, ...]:
        stored = op.delivery.message
        return (task_message.encode_change(stored, task_message.failed(stored, op.error, env.seconds())),)

    return _settle(
        ops,
        env,
        args,
        lambda bounds, keys, items, taken: item_call(
            ARCHIVE,
            (keys.active, keys.lease, keys.archived, keys.processed, keys.failed),
            (env.now_argument(), keys.prefix, *bounds),
            items,
            taken,
        ),
        bounds=lambda op: (op.max_size, op.max_age),
    )


@implements(Requeue)
def requeue(ops: Sequence[Requeue], env: Env) -> Steps[list[Any]]:
    """Put tasks back at the head of their queue."""
    return _settle(
        ops,
        env,
        lambda _: (),
        lambda _, keys, items, taken: item_call(
            REQUEUE, (keys.active, keys.lease, keys.pending), (env.now_argument(),), items, taken
        ),
    )
