"""Operations of the tests, which show what a transport sends and receives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, Op
from asynq_redis.transport.requests import Command, Reply

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_redis import RedisBroker
    from asynq_redis.operations.execution import CallContext, Handler, Steps

COUNTER = "probe:counter"


class Count(Op[int], frozen=True):
    """Increment a counter. Sent twice, it counts twice."""

    idempotent: ClassVar[bool] = False


class Echo(Op[bytes], frozen=True):
    """Return the given text."""

    read_only: ClassVar[bool] = True
    text: str


class Send(Op[Any], frozen=True):
    """Return the reply to a command, or its error."""

    command: tuple[str, ...]


def _count(ops: Sequence[Count], context: CallContext) -> Steps[list[Reply]]:
    return (yield [Command(("INCR", COUNTER)) for _ in ops])


def _echo(ops: Sequence[Echo], context: CallContext) -> Steps[list[Reply]]:
    return (yield [Command(("ECHO", op.text)) for op in ops])


def _send(ops: Sequence[Send], context: CallContext) -> Steps[list[Reply]]:
    return (yield [Command(op.command) for op in ops])


PROBES: dict[type[Op[Any]], Handler] = {Count: _count, Echo: _echo, Send: _send}


class PlainFace:
    """Calls a broker like blocking code."""

    def ask(self, broker: RedisBroker, *ops: Op[Any]) -> list[Any]:
        return broker.execute_many(ops)


class AwaitedFace:
    """Calls a broker like async code, on a new event loop each time."""

    def ask(self, broker: RedisBroker, *ops: Op[Any]) -> list[Any]:
        async def asked() -> list[Any]:
            try:
                return await broker.aexecute_many(ops)
            finally:
                await broker.aclose()

        return asyncio.run(asked())


Face = PlainFace | AwaitedFace


def enqueue(task_id: str = "a", queue: str = "q") -> Enqueue:
    """A small task. Its request contains "call for" and the id."""
    return Enqueue(message=TaskMessage(id=task_id, type="t", queue=queue), enqueue_id=f"call for {task_id}")
