from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest

from asynq.runtime.lazy_timer import LazyTimer


async def test_the_function_is_called_at_the_instant_and_not_again() -> None:
    loop, later = asyncio.get_running_loop(), asyncio.Event()
    times: list[float] = []
    began = loop.time()
    LazyTimer(lambda: times.append(loop.time())).set(began + 0.01)
    LazyTimer(later.set).set(began + 0.03)
    await later.wait()
    assert len(times) == 1
    assert times[0] >= began + 0.01


@pytest.mark.parametrize(("first", "second"), [(0.01, 0.03), (60, 0.01), (math.inf, 0.01)])
async def test_the_last_instant_counts(first: float, second: float) -> None:
    loop, called = asyncio.get_running_loop(), asyncio.Event()
    timer = LazyTimer(called.set)
    began = loop.time()
    timer.set(began + first)
    timer.set(began + second)
    await called.wait()
    assert second <= loop.time() - began < 50


async def test_without_an_instant_the_function_is_not_called() -> None:
    loop, called, later = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    timer = LazyTimer(called.set)
    timer.set(loop.time() + 0.01)
    timer.set(math.inf)
    LazyTimer(later.set).set(loop.time() + 0.03)
    await later.wait()
    assert not called.is_set()


async def test_later_instants_set_no_timers_of_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, times = asyncio.get_running_loop(), list[float]()
    call_at = loop.call_at

    def recording(when: float, *args: Any, **options: Any) -> Any:
        times.append(when)
        return call_at(when, *args, **options)

    monkeypatch.setattr(loop, "call_at", recording)
    timer = LazyTimer(int)
    for second in range(60, 100):
        timer.set(loop.time() + second)
    timer.close()
    assert len(times) == 1
