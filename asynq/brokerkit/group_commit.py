"""Group commit: calls that wait at the same time share a transaction, and so the cost of a commit.

A backend whose store executes one transaction at a time creates a `GroupCommit` in each process (see
`asynq.brokerkit.per_process`). It passes the operations of every call, together with the function that
carries out operations in a transaction, to `call` on the caller's own thread, or to `submit` on an event
loop. `CalledBroker` does this for its subclasses.

Nobody waits for others to come: a call that finds no transaction under way begins one at once. The calls that
come in the meantime queue up, and the next transaction contains all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple, TypeAlias

from asynq.errors import BrokerUnavailable
from asynq.protocol.ops import Op

Run: TypeAlias = Callable[[Sequence[Op[Any]]], list[Any]]
"""Carries out operations and returns their answers in order."""
_Result: TypeAlias = list[Any] | BaseException
_Bell: TypeAlias = SimpleQueue[object]
"""Rings for each awaited call, and to stop the thread that listens to it."""
_RING: Final = object()
_STOP: Final = object()


class _Reply:
    """What a caller waits for: a future of its event loop, or the turn of its thread."""

    __slots__ = ("future", "result")

    def __init__(self, future: asyncio.Future[list[Any]] | None = None) -> None:
        self.future = future
        self.result: _Result | None = None

    def is_cancelled(self) -> bool:
        return self.future is not None and self.future.cancelled()


class _Call(NamedTuple):
    run: Run
    ops: Sequence[Op[Any]]
    reply: _Reply


class _Running(threading.local):
    """The callers whose operations this thread carries out."""

    callers: Sequence[_Reply] = ()


_running = _Running()


def is_abandoned() -> bool:
    """Return whether all callers of the transaction that this thread carries out were cancelled.

    A transaction that waits for other processes, and has not begun, may then give up with BrokerUnavailable.
    Always false if one of them waits on its own thread.
    """
    callers = _running.callers
    return bool(callers) and all(caller.is_cancelled() for caller in callers)


class GroupCommit:
    """Carries out calls, one transaction at a time, from any threads and event loops.

    A thread that calls carries out the transaction itself, with the operations of all calls that wait.
    Awaited calls, which must not block their event loops, have a thread for this. It starts with the first of
    them and ends with `stop`. An error of the transaction as a whole is raised in each of its callers.
    """

    def __init__(self, name: str, max_batch: int) -> None:
        """Create the object, without a thread.

        Args:
            name: Name of the thread.
            max_batch: Number of operations that calls which share a transaction may have together.
        """
        self._name = name
        self._max_batch = max_batch
        self._waiting: deque[_Call] = deque()
        self._turn = threading.RLock()
        """Held by the thread that carries out a transaction."""
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._bell: _Bell = SimpleQueue()

    def call(self, run: Run, ops: Sequence[Op[Any]]) -> list[Any]:
        """Return what `run` returns for these operations. Blocks until they are carried out.

        Args:
            run: The same function in all calls.
            ops: The operations.
        """
        if not self._waiting and self._turn.acquire(blocking=False):
            # Nobody shares this transaction. Those who come during it wait for their turn.
            try:
                return run(ops)
            finally:
                self._turn.release()
        call = _Call(run, ops, _Reply())
        self._waiting.append(call)
        try:
            with self._turn:
                while call.reply.result is None:
                    self._carry_out()
            return _returned(call.reply.result)
        except BaseException:
            # A signal may have interrupted the wait: nobody may carry it out later.
            with contextlib.suppress(ValueError):
                self._waiting.remove(call)
            raise
        finally:
            # This frame is part of an error's traceback and must not refer to what holds the error.
            del call

    async def submit(self, run: Run, ops: Sequence[Op[Any]]) -> list[Any]:
        """Return what `run` returns for these operations. Cancelling the caller does not undo them.

        Args:
            run: The same function in all calls.
            ops: The operations.
        """
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        with self._starting:
            if self._thread is None:
                self._bell = SimpleQueue()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._bell,), name=self._name, daemon=True
                )
                self._thread.start()
            self._waiting.append(_Call(run, ops, _Reply(future)))
            self._bell.put(_RING)
        try:
            return await future
        finally:
            del future  # As in `call`.

    def stop(self) -> None:
        """Stop the thread once it has carried out the calls made before. The next call starts another."""
        with self._starting:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._bell.put(_STOP)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    # --- one transaction -------------------------------------------------------------------------------

    def _serve(self, bell: _Bell) -> None:
        while bell.get() is _RING:
            with self._turn:
                # Another thread may have carried out the call that rang.
                if self._waiting:
                    self._carry_out()

    def _carry_out(self) -> None:
        """Carry out calls that wait, and give them their results."""
        calls = self._gather()
        callers = [call.reply for call in calls]
        results: Sequence[_Result] = [_interrupted()] * len(calls)
        _running.callers = callers
        try:
            results = _results(calls)
        finally:
            _running.callers = ()
            # Callers that have their answers may drop the broker, which must not be kept alive here.
            del calls
            _deliver(callers, results)
            # The traceback of an error leads to this frame, which must not refer to the error in turn.
            del callers, results

    def _gather(self) -> list[_Call]:
        """Return the calls of one transaction, in the order in which they came."""
        calls: list[_Call] = []
        size = 0
        while self._waiting:
            call = self._waiting.popleft()
            size += len(call.ops)
            if calls and size > self._max_batch:
                self._waiting.appendleft(call)
                break
            if not call.reply.is_cancelled():
                calls.append(call)
        return calls


def _results(calls: Sequence[_Call]) -> Sequence[_Result]:
    if not calls:
        return []
    run = calls[0].run
    try:
        if len(calls) == 1:
            return [run(calls[0].ops)]
        answers = run([op for call in calls for op in call.ops])
    except Exception as error:  # noqa: BLE001 - it is raised in the callers
        number = len(calls)
        # This frame is part of the error's traceback, and a call refers to the error that it gets.
        del calls
        return [error] if number == 1 else [copy.copy(error) for _ in range(number)]
    results: list[_Result] = []
    start = 0
    for call in calls:
        results.append(answers[start : start + len(call.ops)])
        start += len(call.ops)
    return results


def _interrupted() -> BrokerUnavailable:
    return BrokerUnavailable("the thread that carried out the call was interrupted", maybe_applied=True)


def _returned(result: _Result) -> list[Any]:
    """Return a result, or raise it if it is an error."""
    if isinstance(result, BaseException):
        try:
            raise result
        finally:
            del result  # As in `GroupCommit.call`.
    return result


def _deliver(callers: Sequence[_Reply], results: Sequence[_Result]) -> None:
    """Give the results to threads, and wake each event loop once for all its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[list[Any]], _Result]]] = {}
    for caller, result in zip(callers, results, strict=True):
        if caller.future is None:
            caller.result = result
        else:
            by_loop.setdefault(caller.future.get_loop(), []).append((caller.future, result))
    for loop, settled in by_loop.items():
        # A closed event loop has no callers left.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[asyncio.Future[list[Any]], _Result]]) -> None:
    for future, result in settled:
        if future.done():
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)
