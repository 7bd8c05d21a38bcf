"""The interval loop."""

from __future__ import annotations

import asyncio
import logging
from random import Random
from typing import TYPE_CHECKING

import pytest

from asynq.errors import AsynqError, BrokerFullError, BrokerRefusedError, BrokerUnavailable
from asynq.runtime.interval_loop import IntervalLoop

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 1000.0


class Steps:
    """A step that executes the given actions one after another, then stops the loop."""

    def __init__(self, *plan: Callable[[], float | None]) -> None:
        self.plan = list(plan)
        self.taken = 0
        self.loop = IntervalLoop("testing", self.step, interval=LONG, rng=Random(1))

    async def step(self) -> float | None:
        self.taken += 1
        if self.taken == len(self.plan):
            self.loop.stop()
        return self.plan[self.taken - 1]()


def nothing() -> None:
    return None


def soon() -> float:
    return 0.0


def fail_with(error: BaseException) -> Callable[[], float | None]:
    def step() -> float | None:
        raise error

    return step


async def test_a_step_can_request_to_run_again_without_the_interval() -> None:
    steps = Steps(soon, soon, nothing)
    await asyncio.wait_for(steps.loop.run(), 5)
    assert steps.taken == 3


async def test_a_wake_up_and_a_stop_cut_the_interval_short() -> None:
    steps = Steps(nothing, nothing, nothing)
    running = asyncio.create_task(steps.loop.run())
    while steps.taken < 2:
        steps.loop.wake()
        await asyncio.sleep(0)
    steps.loop.stop()
    await asyncio.wait_for(running, 5)


async def test_a_wake_up_during_a_step_is_not_lost() -> None:
    def woken() -> None:
        steps.loop.wake()

    steps = Steps(woken, nothing)
    await asyncio.wait_for(steps.loop.run(), 5)
    assert steps.taken == 2


async def test_an_error_is_logged_with_its_traceback_and_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps(fail_with(KeyError("bug")), nothing)
    await asyncio.wait_for(steps.loop.run(), 5)
    assert steps.taken == 2
    assert caplog.records[0].exc_info


async def test_a_cancelled_awaitable_of_a_step_does_not_end_the_loop(
    caplog: pytest.LogCaptureFixture,
) -> None:
    steps = Steps(fail_with(asyncio.CancelledError()), nothing)
    await asyncio.wait_for(steps.loop.run(), 5)
    assert steps.taken == 2
    assert caplog.records[0].exc_info


async def test_a_cancelled_loop_ends() -> None:
    begun = asyncio.Event()

    async def step() -> None:
        begun.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(IntervalLoop("testing", step, interval=LONG, rng=Random(1)).run())
    await begun.wait()
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


@pytest.mark.parametrize("error", [BrokerUnavailable, BrokerRefusedError, BrokerFullError])
async def test_a_broker_outage_and_its_end_are_logged_once(
    caplog: pytest.LogCaptureFixture, error: type[AsynqError]
) -> None:
    caplog.set_level(logging.INFO)
    away = fail_with(error("in trouble"))
    steps = Steps(away, away, soon, nothing)
    await asyncio.wait_for(steps.loop.run(), 5)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.records[0].exc_info is None


async def test_a_system_exit_in_a_step_does_not_end_the_loop() -> None:
    class Timeout(BaseException):
        """Some libraries raise it in a form that `except Exception` does not catch."""

    errors = SystemExit(2), KeyboardInterrupt(), Timeout()
    steps = Steps(*map(fail_with, errors), nothing)
    running = asyncio.create_task(steps.loop.run())
    while steps.taken < 4:
        steps.loop.wake()
        await asyncio.sleep(0)
    await asyncio.wait_for(running, 5)
