"""Group commit: awaited calls run on one thread, and calls that wait together share a transaction."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from attrs import frozen

from asynq.protocol.ops import Op

Run: TypeAlias = Callable[[Sequence[Op[Any]]], list[Any]]
"""Carries out operations and returns their answers in order."""
_Future: TypeAlias = asyncio.Future[list[Any]]
_Result: TypeAlias = list[Any] | BaseException


@frozen(eq=False)
class _Call:
    run: Run
    ops: Sequence[Op[Any]]
    future: _Future


_Queue: TypeAlias = SimpleQueue[_Call | None]
"""Calls in the order in which they came. None stops the thread that takes it."""


class _Running(threading.local):
    """The callers whose operations this thread carries out."""

    callers: Sequence[_Future] = ()


_running = _Running()


def is_abandoned() -> bool:
    """Return whether all callers of the transaction that this thread carries out were cancelled.

    A transaction that waits for other processes, and has not begun, may then give up with BrokerUnavailable.
    Always false on a thread on which a user called the broker.
    """
    callers = _running.callers
    return bool(callers) and all(caller.cancelled() for caller in callers)


class GroupCommit:
    """Carries out awaited calls on one thread, which starts with the first call and ends with `stop`.

    While a transaction is being carried out, further calls queue up. Their operations go into the next
    transaction together. An error of the transaction as a whole is raised in each of their callers.
    """

    def __init__(self, name: str, max_batch: int) -> None:
        """Create the object, without a thread.

        Args:
            name: Name of the thread.
            max_batch: Number of operations at which no further calls are added to a transaction.
        """
        self._name = name
        self._max_batch = max_batch
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._queue: _Queue = SimpleQueue()

    async def submit(self, run: Run, ops: Sequence[Op[Any]]) -> list[Any]:
        """Return what `run` returns for these operations. Cancelling the caller does not undo them.

        Args:
            run: The same function in all calls.
            ops: The operations.
        """
        call = _Call(run, ops, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._thread is None:
                self._queue = SimpleQueue()
                self._thread = threading.Thread(
                    target=_serve, args=(self._queue, self._max_batch), name=self._name, daemon=True
                )
                self._thread.start()
            self._queue.put(call)
        try:
            return await call.future
        finally:
            # This frame is part of an error's traceback and must not refer to what holds the error.
            del call

    def stop(self) -> None:
        """Stop the thread once it has carried out the calls made before. The next call starts another."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._queue.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()


def _serve(queue: _Queue, max_batch: int) -> None:
    while _serve_one(queue, max_batch):
        pass


def _serve_one(queue: _Queue, max_batch: int) -> bool:
    """Carry out the calls of one transaction; return whether the thread goes on."""
    calls, running = _gather(queue, max_batch)
    calls = [call for call in calls if not call.future.cancelled()]
    callers = [call.future for call in calls]
    results = _results(calls)
    # Callers that have their answers may drop the broker, which must not be kept alive here.
    del calls
    _deliver(callers, results)
    return running


def _gather(queue: _Queue, max_batch: int) -> tuple[list[_Call], bool]:
    """Return the calls of one transaction, and whether the thread goes on after it."""
    calls: list[_Call] = []
    size = 0
    call = queue.get()
    while call is not None:
        calls.append(call)
        size += len(call.ops)
        if size >= max_batch:
            return calls, True
        try:
            call = queue.get_nowait()
        except Empty:
            return calls, True
    return calls, False


def _results(calls: Sequence[_Call]) -> list[_Result]:
    if not calls:
        return []
    _running.callers = [call.future for call in calls]
    try:
        answers = calls[0].run([op for call in calls for op in call.ops])
    except Exception as error:  # noqa: BLE001 - it is raised in the callers
        return [copy.copy(error) for _ in calls]
    finally:
        _running.callers = ()
    results: list[_Result] = []
    start = 0
    for call in calls:
        results.append(answers[start : start + len(call.ops)])
        start += len(call.ops)
    return results


def _deliver(callers: Sequence[_Future], results: Sequence[_Result]) -> None:
    """Wake each event loop once for all its callers."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Future, _Result]]] = {}
    for caller, result in zip(callers, results, strict=True):
        by_loop.setdefault(caller.get_loop(), []).append((caller, result))
    for loop, settled in by_loop.items():
        # A closed event loop has no callers left.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, settled)


def _settle(settled: Sequence[tuple[_Future, _Result]]) -> None:
    for caller, result in settled:
        if caller.done():
            continue
        if isinstance(result, BaseException):
            caller.set_exception(result)
        else:
            caller.set_result(result)
