"""An event loop that looks for an answer without sleeping."""

from __future__ import annotations

import asyncio

from asynq.runtime.awake_loop import AWAKE_SECONDS, REST, AwakeLoop


class Watch:
    """Counts how often the loop looks. Each look takes so many seconds."""

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
    watch = Watch(AWAKE_SECONDS / 10)
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
