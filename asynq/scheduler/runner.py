"""ScheduleRunner: a scheduler of the schedules that are kept in the broker."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from asynq.checks import check_interval
from asynq.protocol.broker import require
from asynq.protocol.ops import ListSchedules
from asynq.runtime.interval_loop import IntervalLoop
from asynq.runtime.logs import get_logger
from asynq.scheduler.base_scheduler import BaseScheduler
from asynq.scheduler.engine import SchedulerEngine
from asynq.scheduler.entries import Entry

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq.scheduler.ticker import PostEnqueue, PreEnqueue

log = get_logger("asynq.scheduler")


class ScheduleRunner(BaseScheduler):
    """Enqueues the tasks of the schedules that are kept in the broker; see Schedules. Any number may run.

    It reads the schedules at each `sync_interval` and follows their changes. While the broker is unavailable,
    it keeps those that it has read. A schedule that cannot be read is logged, and the others are followed.
    Everything else is as in Scheduler: each tick is enqueued once.

    Args:
        broker: a broker, or the URL of one.
        sync_interval: time between two readings of the schedules.
        catch_up: as for Scheduler.
        pre_enqueue: as for Scheduler.
        post_enqueue: as for Scheduler.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
        UnsupportedOperationError: the broker does not keep schedules, or does not support `catch_up`.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        sync_interval: timedelta = timedelta(seconds=2),
        catch_up: timedelta | None = None,
        pre_enqueue: PreEnqueue | None = None,
        post_enqueue: PostEnqueue | None = None,
    ) -> None:
        check_interval("sync_interval", sync_interval)
        super().__init__(broker)
        require(self._broker, ListSchedules)
        self._interval = sync_interval.total_seconds()
        self._refused: frozenset[str] = frozenset()
        self._engine = SchedulerEngine(
            self._broker,
            location=ZoneInfo("UTC"),
            catch_up=catch_up,
            pre_enqueue=pre_enqueue,
            post_enqueue=post_enqueue,
        )

    async def sync(self) -> None:
        """Read the schedules now, independent of the interval. Raises the errors of the broker."""
        entries, refused = [], []
        for schedule in await self._broker.aexecute(ListSchedules()):
            try:
                entries.append(Entry.of_stored(schedule))
            except (TypeError, ValueError) as error:
                refused.append(schedule.name)
                if schedule.name not in self._refused:
                    log.error("schedule %r is not followed: %s", schedule.name, error)  # noqa: TRY400 - a message suffices
        self._refused = frozenset(refused)
        added, removed = self._engine.registry.replace(entries)
        if added or removed:
            log.info("schedules: %d added, %d removed", added, removed)

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        reading = IntervalLoop("reading schedules", self._step, interval=self._interval, rng=rng)
        return [*self._engine.loops(rng), reading]

    @property
    def _calls_user(self) -> bool:
        return self._engine.calls_user

    async def _finish(self, *, answered: bool) -> None:
        await self._engine.end(answered=answered)

    async def _step(self) -> float | None:
        await self.sync()
        return None
