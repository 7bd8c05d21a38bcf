"""Spare the upkeep of queues that have nothing to keep up, if a call is about many queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq_redis.transport.requests import Command
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq_redis.operations.execution import CallContext, Handler, Steps
    from asynq_redis.transport.requests import Request

FEW = 8
"""Number of operations up to which a further round costs more than it spares."""


def unless_empty(handler: Handler, keys: Callable[[QueueKeys], tuple[str, ...]], answer: Any) -> Handler:
    """Make a handler that calls another one only for queues that have one of these keys.

    Args:
        handler: Executes operations on queues.
        keys: The keys of a queue without which the operation has no effect.
        answer: The answer for a queue without these keys.
    """

    def spared(ops: Sequence[Any], context: CallContext) -> Steps[list[Any]]:
        # On a Cluster, a command about a server that fails would hold up the others.
        if len(ops) <= FEW or context.clustered:
            return (yield from handler(ops, context))
        looks: list[Request] = [Command(("EXISTS", *keys(QueueKeys(op.queue)))) for op in ops]
        found = yield looks
        some = [op for op, count in zip(ops, found, strict=True) if count != 0]
        answers = iter((yield from handler(some, context)) if some else ())
        return [answer if count == 0 else next(answers) for count in found]

    return spared
