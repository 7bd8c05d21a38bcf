"""`SchedulerGroup`: several schedulers that start, run and end as one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asynq.runtime.blocking_run import run_blocking
from asynq.runtime.lifecycle import Lifecycle
from asynq.scheduler.base_scheduler import USER_CALL_TIMEOUT, BaseScheduler, log

if TYPE_CHECKING:
    from datetime import timedelta

    from asynq.protocol.broker import Broker


class SchedulerGroup(Lifecycle):
    """Starts its schedulers one after the other, and ends with the last of them.

    Args:
        schedulers: at least one scheduler.
    """

    def __init__(self, schedulers: Sequence[BaseScheduler]) -> None:
        self._schedulers = tuple(schedulers)
        super().__init__(self._schedulers[0].broker, log)

    @classmethod
    def of(cls, given: object) -> SchedulerGroup | None:
        """The group of the schedulers that a user passed: one, several or None. As `schedulers_of`."""
        schedulers = () if given is None else schedulers_of(given)
        return cls(schedulers) if schedulers else None

    @property
    def brokers(self) -> tuple[Broker, ...]:
        """The brokers of the schedulers."""
        return tuple(each.broker for each in self._schedulers)

    def run(self) -> None:
        """Run all schedulers until SIGTERM or SIGINT, as `Scheduler.run` runs one.

        Raises:
            RuntimeError, ServerStateError: as `Scheduler.run`.
        """
        run_blocking(self._run, "await start()")

    async def start(self) -> None:
        """Start all schedulers, or none: after an error of one, the others are shut down.

        Raises:
            ServerStateError: one was started or shut down before.
        """
        self._check_new("scheduler")
        try:
            for each in self._schedulers:
                await each.start()
            self._check_new("scheduler")
        except BaseException:
            self._state = "closed"
            await self._close_all()
            raise
        self._state = "active"
        self._start_main(self._close_after_all())

    async def _run(self) -> None:
        try:
            await self._run_until_signal(self.start())
        finally:
            for broker in self.brokers:
                await broker.aclose()

    async def _close_after_all(self) -> None:
        try:
            await asyncio.gather(*(each._wait_for_main() for each in self._schedulers))  # noqa: SLF001 - its parts
        finally:
            # After a crash of one, the others end too.
            await self._close_all()

    async def _close_all(self) -> None:
        await asyncio.gather(*(each.shutdown() for each in self._schedulers))

    @property
    def loop_lag(self) -> timedelta:
        """How long its event loop has been blocked, which all schedulers share."""
        return max(each.loop_lag for each in self._schedulers)

    async def _broker_failure(self) -> str:
        reasons = await asyncio.gather(*(each._broker_failure() for each in self._schedulers))  # noqa: SLF001 - its parts
        return "; ".join(dict.fromkeys(filter(None, reasons)))

    @property
    def _draining(self) -> bool:
        return self._state != "active" or any(each._draining for each in self._schedulers)  # noqa: SLF001 - its parts

    @property
    def _drain_timeout(self) -> float:
        return USER_CALL_TIMEOUT

    def begin_shutdown(self) -> None:
        """Make all schedulers end gracefully. On their event loop."""
        for each in self._schedulers:
            each._begin_shutdown()  # noqa: SLF001 - its parts

    def force_shutdown(self) -> None:
        """Stop waiting for hooks and config providers. Only called after `begin_shutdown`."""
        for each in self._schedulers:
            each._force_shutdown()  # noqa: SLF001 - its parts

    def _report_closed(self) -> None:
        """Each scheduler has reported its own end."""

    _begin_shutdown = begin_shutdown
    _force_shutdown = force_shutdown


def schedulers_of(given: object) -> tuple[BaseScheduler, ...]:
    """The schedulers that a user passed: one or a sequence of several.

    Raises:
        TypeError: it is anything else.
    """
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
    for each in several:
        if not isinstance(each, BaseScheduler):
            raise TypeError(
                f"scheduler must be a Scheduler, ScheduleRunner or PeriodicTaskManager, not {each!r}"
            )
    return tuple(several)
