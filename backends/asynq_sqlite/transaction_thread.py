"""The thread that keeps event loops free: it runs what is awaited, many callers in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Any

from attrs import frozen

from asynq.protocol.ops import Op
from asynq_sqlite.engine import MAX_TRANSACTION

Run = Callable[[Sequence[Op[Any]], Callable[[], bool]], list[Any]]
"""Carries out operations, unless their answers are no longer wanted before it could begin."""


@frozen(eq=False)
class _Job:
    ops: Sequence[Op[Any]]
    future: asyncio.Future[list[Any]]

    def deliver(self, answers: list[Any] | BaseException) -> None:
        # When the loop that asked is closed, nobody waits.
        with contextlib.suppress(RuntimeError):
            self.future.get_loop().call_soon_threadsafe(self._settle, answers)

    def _settle(self, answers: list[Any] | BaseException) -> None:
        if self.future.done():
            return
        if isinstance(answers, BaseException):
            self.future.set_exception(answers)
        else:
            self.future.set_result(answers)


_Jobs = SimpleQueue[_Job | None]
"""Jobs in the order they came; None ends the thread that takes it."""


class Worker:
    """Runs jobs in order on one thread, which starts with the first job and ends with `stop`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._jobs: _Jobs = SimpleQueue()

    async def submit(self, ops: Sequence[Op[Any]]) -> list[Any]:
        """The answers, once the thread has them."""
        job = _Job(ops, asyncio.get_running_loop().create_future())
        with self._lock:
            if self._thread is None:
                self._jobs = SimpleQueue()
                self._thread = threading.Thread(
                    target=_serve, args=(self._run, self._jobs), name="asynq-sqlite", daemon=True
                )
                self._thread.start()
            self._jobs.put(job)
        try:
            return await job.future
        finally:
            # This frame is part of an error's traceback, and must not hold what holds the error.
            del job

    def stop(self) -> None:
        """End the thread, when it has done what was asked before."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()


def _serve(run: Run, waiting: _Jobs) -> None:
    going_on = True
    while going_on:
        jobs, going_on = _gather(waiting)
        _carry_out(run, jobs)
        # While it waits for others, this thread keeps nobody's answers alive, nor errors and their callers.
        del jobs


def _carry_out(run: Run, jobs: Sequence[_Job]) -> None:
    jobs = [job for job in jobs if not job.future.cancelled()]
    if not jobs:
        return
    try:
        # Nobody waits for the answers of a cancelled job: a lock held elsewhere must not hold up `stop`.
        answers = run(
            [op for job in jobs for op in job.ops], lambda: not all(job.future.cancelled() for job in jobs)
        )
    except Exception as error:  # noqa: BLE001 - the error belongs to those who wait
        for job in jobs:
            job.deliver(copy.copy(error))
        return
    start = 0
    for job in jobs:
        job.deliver(answers[start : start + len(job.ops)])
        start += len(job.ops)


def _gather(waiting: _Jobs) -> tuple[list[_Job], bool]:
    """The jobs of one transaction, at least one, and whether there will be more."""
    jobs: list[_Job] = []
    size = 0
    job = waiting.get()
    while job is not None:
        jobs.append(job)
        size += len(job.ops)
        if size >= MAX_TRANSACTION:
            return jobs, True
        try:
            job = waiting.get_nowait()
        except Empty:
            return jobs, True
    return jobs, False
