"""The only interval code: runs a step again and again, with jitter, patience, and a way to stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynq.errors import BrokerFullError, BrokerRefusedError, BrokerUnavailable
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff, ErrorReporter
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

log = get_logger("asynq.loops")

JITTER = 0.25
"""Pauses vary by this share either way, so that many servers do not act in step."""
POLL_INTERVAL = 5.0
"""Seconds between two polls of the broker while it sends notifications."""
POLL_INTERVAL_WITHOUT_PUSH = 1.0
"""Seconds between two polls while it sends none."""


class IntervalLoop:
    """Runs a step again and again until it is stopped; a step that fails does not end the loop.

    A step answers the seconds until it wants to run again, None for the interval. While the broker is
    away, full or refuses, the pauses grow, and one line is logged per change of state; any other error is
    logged with its traceback.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[float | None]],
        *,
        interval: float,
        rng: Random,
        gap: float = 0.0,
    ) -> None:
        """`interval` and `gap` are seconds; `gap` is the least pause between two steps, wake or no wake."""
        self._name = name
        self._step = step
        self._interval = interval
        self._gap = gap
        self._rng = rng
        self._backoff = Backoff(rng, first=min(0.5, interval))
        self._troubles = ErrorReporter(log, name)
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()

    def wake(self) -> None:
        """Run the next step now, or as soon as the gap allows."""
        self._woken.set()

    def stop(self) -> None:
        """Finish the step under way, then end."""
        self._stopped.set()
        self._woken.set()

    async def run(self) -> None:
        """Step until stopped."""
        while not self._stopped.is_set():
            self._woken.clear()
            pause = await self._attempt()
            await wait_with_timeout(self._stopped, self._gap)
            await wait_with_timeout(self._woken, pause - self._gap)

    async def _attempt(self) -> float:
        try:
            pause = await self._step()
        except (BrokerUnavailable, BrokerFullError, BrokerRefusedError) as error:
            self._troubles.failed(error)
            return self._backoff.pause()
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            # Something the step waited for was cancelled, which must not end the loop.
            log.exception("%s failed; it will be tried again", self._name)
            return max(self._backoff.pause(), self._gap)
        except GeneratorExit:
            raise
        except BaseException:
            # Providers may raise classes of their own: those of some timeouts are no Exception.
            log.exception("%s failed; it will be tried again", self._name)
            return max(self._backoff.pause(), self._gap)
        self._troubles.worked(heard=False)
        self._backoff.reset()
        if pause is not None:
            return pause
        return self._interval * self._rng.uniform(1 - JITTER, 1 + JITTER)


def being_cancelled() -> bool:
    """True if a CancelledError is meant for the running task, False if it comes from what it waits for."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def wait_with_timeout(until: asyncio.Event, seconds: float | None) -> None:
    """Wait for the event, at most so many seconds; None for as long as it takes."""
    if until.is_set() or (seconds is not None and seconds <= 0):
        return
    try:
        async with timeouts.timeout(seconds):
            await until.wait()
    except TimeoutError:
        pass
