"""Settle deliveries: Done, Complete, Retry, Archive, Requeue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve
from msgspec.structs import replace

from asynq.errors import LeaseLostError
from asynq.protocol.ops import Archive, Complete, Done, Requeue, Retry
from asynq_redis.lua.scripts import ARCHIVE, COMPLETE, DONE, REQUEUE, RETRY
from asynq_redis.operations.batching import Item, call_for_items, lock_key, run_in_calls
from asynq_redis.operations.consume import lease_lost
from asynq_redis.operations.execution import implements
from asynq_redis.wire import task_message
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Arg, ScriptCall

    Settlement = Done | Complete | Retry | Archive | Requeue


def _maybe_ended(answer: Any) -> Any:
    """If a request that was sent again finds the lease lost, the first copy has most likely settled it."""
    return evolve(answer, maybe_applied=True) if isinstance(answer, LeaseLostError) else answer


def _settle(
    ops: Sequence[Any],
    context: CallContext,
    args: Callable[[Any], tuple[Arg, ...]],
    call: Callable[[Any, QueueKeys, list[Item], list[str]], ScriptCall],
    bounds: Callable[[Any], Hashable] = lambda _: None,
) -> Steps[list[Any]]:
    """Settle tasks, in one call per queue.

    Args:
        ops: The operations.
        context: The context of the call.
        args: Returns the arguments of an operation after the id and the token.
        call: Makes the call for some items.
        bounds: Returns the values that all operations of a call must have in common.
    """

    def item(op: Settlement) -> Item:
        message, token = op.delivery.message, op.delivery.token
        keys = QueueKeys(message.queue)
        task = keys.task(message.id)
        return Item((task, lock_key(task, message)), (message.id, token, *args(op)))

    def make(common: tuple[str, Any], items: list[Item]) -> ScriptCall:
        queue, shared = common
        keys = QueueKeys(queue)
        tokens = dict.fromkeys(str(item.args[1]) for item in items)
        return call(shared, keys, items, [keys.taken(token) for token in tokens])

    return (
        yield from run_in_calls(
            [((op.delivery.message.queue, bounds(op)), item(op)) for op in ops],
            make,
            lambda place, reply: None if reply else lease_lost(ops[place].delivery.lease),
            context,
            resent=_maybe_ended,
        )
    )


@implements(Done)
def done(ops: Sequence[Done], context: CallContext) -> Steps[list[Any]]:
    """Delete finished tasks."""
    return _settle(
        ops,
        context,
        lambda _: (),
        lambda _, keys, items, taken: call_for_items(
            DONE,
            (keys.active, keys.lease, keys.processed, keys.failed),
            (context.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Complete)
def complete(ops: Sequence[Complete], context: CallContext) -> Steps[list[Any]]:
    """Keep finished tasks until their retention ends."""

    def args(op: Complete) -> tuple[Arg, ...]:
        stored = op.delivery.message
        message = replace(stored, completed_at=context.seconds())
        result = op.result
        return (
            task_message.encode_change(stored, message),
            message.retention,
            "" if result is None else "1",
            "" if result is None else result,
        )

    return _settle(
        ops,
        context,
        args,
        lambda _, keys, items, taken: call_for_items(
            COMPLETE,
            (keys.active, keys.lease, keys.completed, keys.processed, keys.failed),
            (context.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Retry)
def retry(ops: Sequence[Retry], context: CallContext) -> Steps[list[Any]]:
    """Schedule tasks for a retry."""

    def args(op: Retry) -> tuple[Arg, ...]:
        message = task_message.failed(op.delivery.message, op.error, context.seconds(), spent=int(op.failure))
        return (task_message.encode_change(op.delivery.message, message), op.delay, "1" if op.failure else "")

    return _settle(
        ops,
        context,
        args,
        lambda _, keys, items, taken: call_for_items(
            RETRY,
            (keys.active, keys.lease, keys.retry, keys.processed, keys.failed),
            (context.now_argument(),),
            items,
            taken,
        ),
    )


@implements(Archive)
def archive(ops: Sequence[Archive], context: CallContext) -> Steps[list[Any]]:
    """Move tasks to the archive."""

    def args(op: Archive) -> tuple[Arg, ...]:
        stored = op.delivery.message
        return (task_message.encode_change(stored, task_message.failed(stored, op.error, context.seconds())),)

    return _settle(
        ops,
        context,
        args,
        lambda bounds, keys, items, taken: call_for_items(
            ARCHIVE,
            (keys.active, keys.lease, keys.archived, keys.processed, keys.failed),
            (context.now_argument(), keys.prefix, *bounds),
            items,
            taken,
        ),
        bounds=lambda op: (op.max_size, op.max_age),
    )


@implements(Requeue)
def requeue(ops: Sequence[Requeue], context: CallContext) -> Steps[list[Any]]:
    """Put tasks back at the head of their queue."""
    return _settle(
        ops,
        context,
        lambda _: (),
        lambda _, keys, items, taken: call_for_items(
            REQUEUE, (keys.active, keys.lease, keys.pending), (context.now_argument(),), items, taken
        ),
    )
