"""An event loop and a thread that look for an answer without sleeping."""

from __future__ import annotations

import asyncio

from asynq.runtime.awake import LOOK_SECONDS, LOOP_SECONDS, REST, THREAD_SECONDS, AwakeLoop, AwakeThread


class Watch:
    """Counts looks. Each takes so many seconds."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.looks = 0
        self.needed = True
        self._seconds = seconds

    def look(self) -> bool:
        self.looks += 1
        return self.needed

    def monotonic(self) -> float:
        return self.looks * self._seconds


async def iterations(count: int) -> None:
    """Let the event loop run."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_the_loop_looks_in_each_iteration_until_the_answer_is_there() -> None:
    watch = Watch()
    awake = AwakeLoop(watch.look, monotonic=watch.monotonic)
    awake.stay()
    awake.stay()
    await iterations(50)
    assert 48 <= watch.looks <= 50
    watch.needed = False
    await iterations(3)
    last = watch.looks
    await iterations(10)
    assert watch.looks == last


async def test_the_loop_sleeps_when_the_answer_takes_long_and_for_the_next_ones() -> None:
    watch = Watch(LOOP_SECONDS / 10)
    awake = AwakeLoop(watch.look, monotonic=watch.monotonic)
    awake.stay()
    await iterations(50)
    assert watch.looks == 10
    for _ in range(REST):
        awake.stay()
        await iterations(2)
    assert watch.looks == 10
    awake.stay()
    await iterations(2)
    assert watch.looks > 10


def test_a_thread_looks_until_the_answer_is_there() -> None:
    arrivals = iter([False, False, True, True])
    awake = AwakeThread(lambda: next(arrivals), monotonic=lambda: 0.0)
    awake.stay()
    assert next(arrivals)


def test_a_thread_sleeps_when_the_answer_takes_long_and_for_the_next_ones() -> None:
    watch = Watch(THREAD_SECONDS / 10)
    watch.needed = False
    awake = AwakeThread(watch.look, monotonic=watch.monotonic)
    awake.stay()
    assert 10 <= watch.looks <= 11  # the fractions of a second are not exact
    looks = watch.looks
    for _ in range(REST):
        awake.stay()
    assert watch.looks == looks
    awake.stay()
    assert watch.looks > looks


def test_a_thread_sleeps_when_others_need_the_processor() -> None:
    watch = Watch(LOOK_SECONDS * 2)
    watch.needed = False
    awake = AwakeThread(watch.look, monotonic=watch.monotonic)
    for _ in range(1 + REST):
        awake.stay()
    assert watch.looks == 1
