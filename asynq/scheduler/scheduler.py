"""Scheduler: enqueues periodic tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack
from zoneinfo import ZoneInfo

from asynq.client.options import EnqueueKeywords, options_of
from asynq.scheduler.base_scheduler import BaseScheduler
from asynq.scheduler.engine import SchedulerEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta, tzinfo
    from random import Random

    from asynq.client.task import Task
    from asynq.protocol.broker import Broker
    from asynq.runtime.interval_loop import IntervalLoop
    from asynq.scheduler.ticker import PostEnqueue, PreEnqueue


class Scheduler(BaseScheduler):
    """Enqueues tasks at the times of their schedules. Any number may run: each tick is enqueued once.

    Schedulers that have the same entry, made of the same spec, task, options and location, share its ticks,
    whichever machine they are on, and one that dies is made up for by the others. Times are the broker's, so
    no tick is early where a machine's clock is wrong. A scheduler lives once: new, then active, then closed.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        location: tzinfo = ZoneInfo("UTC"),  # noqa: B008 - immutable
        catch_up: timedelta | None = None,
        pre_enqueue: PreEnqueue | None = None,
        post_enqueue: PostEnqueue | None = None,
    ) -> None:
        """Nothing is connected yet. ValueError or TypeError, naming the option, for what cannot be honoured.

        location: the zone of wall-clock times whose spec names none.
        catch_up: how far back ticks are enqueued that came while no scheduler ran. None: not at all, but for
        the latest tick of an entry when a scheduler was held up or the broker was away.
        pre_enqueue: told of (task) before each tick, by every scheduler that tries. post_enqueue: told of
        (task, info, error) by the scheduler that decided the tick: the task as it was enqueued and None, or
        None and the error that refused it for good, such as DuplicateTaskError. Both may be async; what they
        raise is logged.
        """
        super().__init__(broker)
        self._timetable = SchedulerEngine(
            self._broker,
            location=location,
            catch_up=catch_up,
            pre_enqueue=pre_enqueue,
            post_enqueue=post_enqueue,
        )

    def register(self, spec: str, task: Task, **options: Unpack[EnqueueKeywords]) -> str:
        """Enqueue the task at the times of the spec from now on; the entry's id.

        May be called while the scheduler runs, from any thread. The id is the same for every scheduler and
        after every restart; an equal entry that is there already makes it end in -2, -3, and so on. The
        options are those of Client.enqueue. A task with a `task_id` takes the place of a finished one of that
        id unless `on_conflict` says otherwise. CronError for a spec that cannot be read
        or never comes due, TypeError or ValueError for other misuse: then nothing is registered.
        """
        return self._timetable.registry.add(
            self._timetable.entry(spec, task, options_of("register", options))
        )

    def unregister(self, entry_id: str) -> None:
        """Enqueue the entry no more. EntryNotFoundError when there is none of this id."""
        self._timetable.registry.remove(entry_id)

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        return self._timetable.loops(rng)

    @property
    def _calls_user(self) -> bool:
        return self._timetable.calls_user

    async def _finish(self, *, answered: bool) -> None:
        await self._timetable.end(answered=answered)
