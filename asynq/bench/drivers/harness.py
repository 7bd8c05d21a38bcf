"""What the drivers in Python share: commands on standard input, and the meter of a worker.

Needs nothing but the standard library, because it also runs in the environments of other task queues.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

PAYLOAD = "x" * 100
TIMED = "@"
"""First character of a payload that contains the time of its enqueue."""
WARM_UP = 20
"""Calls before the measured ones."""
BATCH = 1000
"""Tasks in one call that enqueues many."""


def broker_url() -> str:
    """URL of the broker to use."""
    return os.environ["ASYNQ_BENCH_BROKER"]


def timed_payload() -> str:
    """A payload of the usual size that contains the current time."""
    return payload_with(time.time())


def payload_with(instant: float) -> str:
    """A payload that contains an instant: the worker reports how late it starts the task."""
    return f"{TIMED}{instant:.6f} ".ljust(len(PAYLOAD), "x")


def serve(modes: Mapping[str, Callable[[int], Any]]) -> None:
    """Answer each line `MODE COUNT` on standard input with the result of the mode, as a line of JSON."""
    _answer(sorted(modes))
    for line in sys.stdin:
        mode, count = line.split()
        _answer(modes[mode](int(count)))


def _answer(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def main(produce: Callable[[], Mapping[str, Callable[[int], Any]]], work: Callable[[int], None]) -> None:
    """Run a driver: `produce` returns the modes of the producer, `work` is called with the concurrency."""
    if sys.argv[1] == "produce":
        serve(produce())
    else:
        work(int(sys.argv[2]))


def repeat(call: Callable[[], object]) -> Callable[[int], None]:
    """A mode that makes as many calls as asked."""

    def calls(count: int) -> None:
        for _ in range(count):
            call()

    return calls


def now(call: Callable[[str], object]) -> Callable[[int], None]:
    """A mode that enqueues one task that contains the current time."""
    return lambda _: void(call(timed_payload()))


def void(_: object) -> None:
    """Drop a value that is not for JSON."""


def timed(call: Callable[[], object], count: int, warm_up: int = WARM_UP) -> float:
    """Seconds that `count` calls take, one after the other, after some that are not measured."""
    for _ in range(warm_up):
        call()
    started = time.perf_counter()
    for _ in range(count):
        call()
    return time.perf_counter() - started


async def timed_async(
    call: Callable[[], Awaitable[object]], count: int, concurrency: int = 1, warm_up: int = WARM_UP
) -> float:
    """Seconds that `count` calls take, `concurrency` of them at a time."""

    async def some(number: int) -> None:
        for _ in range(number):
            await call()

    await some(warm_up)
    started = time.perf_counter()
    if concurrency == 1:
        await some(count)
    else:
        await asyncio.gather(*(some(count // concurrency) for _ in range(concurrency)))
    return time.perf_counter() - started


class Meter:
    """Counts the runs of a worker and reports some of them to the benchmark. Usable from any thread.

    It reports `mark COUNT TIME CPU` when the number of runs reaches one of ASYNQ_BENCH_MARKS, and
    `pickup SECONDS` for each timed payload: the time since its enqueue.
    """

    def __init__(self) -> None:
        self._out: int | None = None
        self._marks = iter(int(mark) for mark in os.environ.get("ASYNQ_BENCH_MARKS", "").split())
        self._next = next(self._marks, 0)
        self._runs = itertools.count(1)

    @property
    def finished(self) -> bool:
        """Whether the last mark was reached."""
        return not self._next

    def run(self, payload: str) -> None:
        """A run starts."""
        if payload.startswith(TIMED):
            self.report(f"pickup {time.time() - float(payload[1:].split(maxsplit=1)[0])}")
        elif next(self._runs) == self._next:
            self.report(f"mark {self._next} {time.perf_counter()} {time.process_time()}")
            self._next = next(self._marks, 0)

    def report(self, line: str) -> None:
        """Send a line to the benchmark. Lines are short, so they are written whole."""
        if self._out is None:
            self._out = os.open(os.environ["ASYNQ_BENCH_REPORT"], os.O_WRONLY)
        os.write(self._out, line.encode() + b"\n")
