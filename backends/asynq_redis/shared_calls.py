"""Share calls: operations that tasks of one event loop execute at the same time go to the server together."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any, Final

from asynq.errors import AsynqError
from asynq.protocol.ops import MAX_BATCH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from asynq.protocol.ops import Op

    Send = Callable[[Sequence[Op[Any]]], Awaitable[list[Any]]]
    """Executes operations and returns their answers, which may be errors, in order."""

MAX_OPERATIONS: Final = 1000
"""Maximum operations in a shared call."""
ENOUGH: Final = MAX_BATCH
"""Operations that do not wait for the end of the call under way, as they fill a script call: while the server
carries out one call, this process composes the next one."""
MAX_CALLS: Final = 3
"""Maximum calls under way for which this holds."""
MAX_WAIT: Final = 0.02
"""Seconds after which operations no longer wait for the end of the call under way: it may be in trouble."""


class SharedCalls:
    """Operations of one kind on one event loop.

    The first one is sent at once, by its own task. Those that come while it is under way are sent together
    when it ends or when there are ENOUGH, on a task of this object: a caller that is cancelled does not take
    the others along. Operations of different callers may be carried out in any order.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Op[Any], asyncio.Future[Any]]] = []
        self._under_way = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether no operation waits or is under way."""
        return not self._under_way and not self._waiting

    async def execute(self, op: Op[Any], send: Send) -> Any:
        """Return the answer of an idempotent operation, which may be an error.

        If the caller is cancelled, the operation may or may not take effect.

        Args:
            op: The operation.
            send: The same function in all calls.
        """
        if not self._under_way:
            self._under_way += 1
            try:
                return (await send((op,)))[0]
            finally:
                self._end_one(send)
        answer = self._loop.create_future()
        self._waiting.append((op, answer))
        if len(self._waiting) >= ENOUGH and self._under_way < MAX_CALLS:
            self._start(send)
        elif self._timer is None:
            self._timer = self._loop.call_later(MAX_WAIT, self._start, send)
        try:
            return await answer
        finally:
            # This frame is part of an error's traceback and must not refer to what holds the error.
            del answer

    def _end_one(self, send: Send) -> None:
        self._under_way -= 1
        if self._waiting and not self._under_way:
            self._start(send)

    def _start(self, send: Send) -> None:
        """Send what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        shared = [(op, answer) for op, answer in waiting if not answer.done()]
        for start in range(0, len(shared), MAX_OPERATIONS):
            self._under_way += 1
            task = self._loop.create_task(self._run(shared[start : start + MAX_OPERATIONS], send))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run(self, shared: Sequence[tuple[Op[Any], asyncio.Future[Any]]], send: Send) -> None:
        try:
            answers = await send([op for op, _ in shared])
        except AsynqError as error:
            for _, answer in shared:
                _settle(answer, error=copy.copy(error))
        except Exception:  # noqa: BLE001 - one operation is invalid, and the others must not suffer from it
            for op, answer in shared:
                await self._run_alone(op, answer, send)
        else:
            for (_, answer), found in zip(shared, answers, strict=True):
                _settle(answer, found)
        finally:
            for _, answer in shared:
                answer.cancel()  # those without an answer: the event loop ends
            self._end_one(send)

    async def _run_alone(self, op: Op[Any], answer: asyncio.Future[Any], send: Send) -> None:
        try:
            [found] = await send((op,))
        except Exception as error:  # noqa: BLE001 - raised in the caller
            _settle(answer, error=error)
        else:
            _settle(answer, found)


def _settle(answer: asyncio.Future[Any], found: Any = None, *, error: Exception | None = None) -> None:
    """Give the caller its answer, unless it was cancelled."""
    if answer.done():
        return
    if error is None:
        answer.set_result(found)
    else:
        answer.set_exception(error)
