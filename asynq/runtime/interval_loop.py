"""Runs the step of a background loop at intervals, with jitter, back-off after errors, wake-up and stop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from asynq.errors import BrokerFullError, BrokerRefusedError, BrokerUnavailable
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from random import Random

log = get_logger("asynq.loops")

JITTER = 0.25
"""Pauses vary by this fraction in both directions, so that many servers do not act at the same time."""
LIVE_POLL_INTERVAL = 30.0
"""Seconds between two polls while notifications are certain to arrive, see `Listener.live`."""
FALLBACK_POLL_INTERVAL = 5.0
"""Seconds between two polls while the broker sends notifications."""
NO_PUSH_POLL_INTERVAL = 1.0
"""Seconds between two polls while the broker sends no notifications."""


class IntervalLoop:
    """Runs a step repeatedly until `stop` is called. An error in a step does not end the loop.

    A step returns the seconds until its next run, or None for the interval. While the broker is unreachable,
    full or refuses requests, the loop backs off and logs one line per change of state. Other errors are
    logged with their tracebacks.

    Args:
        name: the name of the loop in log lines.
        step: the step.
        interval: seconds between two steps.
        rng: source of the jitter.
        gap: minimum seconds between the end of a step and the next one if `wake` is called.
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

        self._name = name
        self._step = step
        self._interval = interval
        self._gap = gap
        self._rng = rng
        self._backoff = Backoff(rng, first=min(0.5, interval))
        self._errors = ErrorReporter(log, name)
        self._woken = asyncio.Event()
        self._stopped = asyncio.Event()

    def wake(self) -> None:
        """Run the next step now, or when the gap has passed."""
        self._woken.set()

    def stop(self) -> None:
        """End the loop after the current step."""
        self._stopped.set()
        self._woken.set()

    async def run(self) -> None:
        """Run the step until `stop` is called."""
        while not self._stopped.is_set():
            self._woken.clear()
            pause = await self._attempt()
            await wait_with_timeout(self._stopped, min(self._gap, pause))
            await wait_with_timeout(self._woken, pause - self._gap)

    async def _attempt(self) -> float:
        try:
            pause = await self._step()
        except (BrokerUnavailable, BrokerFullError, BrokerRefusedError) as error:
            self._errors.failed(error)
            return self._backoff.pause()
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            # Something that the step awaited was cancelled. This must not end the loop.
            log.exception("%s raised an unexpected error, retrying", self._name)
            return max(self._backoff.pause(), self._gap)
        except GeneratorExit:
            raise
        except BaseException:
            # User code may raise any class. The timeout errors of some libraries are not Exceptions.
            log.exception("%s raised an unexpected error, retrying", self._name)
            return max(self._backoff.pause(), self._gap)
        self._errors.worked(broker_answered=False)
        self._backoff.reset()
        if pause is not None:
            return pause
        return self._interval * self._rng.uniform(1 - JITTER, 1 + JITTER)


def being_cancelled() -> bool:
    """Whether the running task is being cancelled. If not, a CancelledError comes from what it awaits."""
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


async def wait_with_timeout(event: asyncio.Event, seconds: float | None) -> None:
    """Wait until the event is set, at most this many seconds. None: without a limit."""
    if event.is_set() or (seconds is not None and seconds <= 0):
        return
    try:
        async with timeouts.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
