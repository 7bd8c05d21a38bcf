"""SchedulerEngine: the entries, ticker and heartbeat behind Scheduler and PeriodicTaskManager."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from typing import TYPE_CHECKING

from asynq.checks import check_callback, check_duration, check_zone
from asynq.ids import random_id
from asynq.protocol.broker import require
from asynq.protocol.ops import ClearScheduler, EnqueueTick, GetLastTick, WriteScheduler
from asynq.runtime.heartbeat import Heartbeat, host
from asynq.runtime.interval_loop import IntervalLoop
from asynq.scheduler.entries import Entry, Registry
from asynq.scheduler.ticker import MAX_PAUSE, Ticker, TickHooks

if TYPE_CHECKING:
    from datetime import tzinfo
    from random import Random

    from asynq.client.options import Options
    from asynq.client.task import Task
    from asynq.protocol.broker import Broker
    from asynq.scheduler.ticker import PostEnqueue, PreEnqueue

SCHEDULER_HEARTBEAT_INTERVAL = 10.0
"""Seconds between two heartbeats of a scheduler. Its record expires after twice this time."""
_MILLISECOND = timedelta(milliseconds=1)


class SchedulerEngine:
    """Entries, and the loops that enqueue their tasks and publish them for inspection."""

    def __init__(
        self,
        broker: Broker,
        *,
        location: tzinfo,
        catch_up: timedelta | None,
        pre_enqueue: PreEnqueue | None,
        post_enqueue: PostEnqueue | None,
    ) -> None:
        """Validate the options of a scheduler.

        Raises:
            ValueError: an option has an invalid value; the message names the option.
            TypeError: an option has the wrong type; the message names the option.
            UnsupportedOperationError: the broker does not support periodic tasks, or `catch_up`.
        """
        require(broker, EnqueueTick, *([GetLastTick] if catch_up else []))
        check_zone("location", location)
        if catch_up is not None:
            check_duration("catch_up", catch_up)
        check_callback("pre_enqueue", pre_enqueue, takes="(task)")
        check_callback("post_enqueue", post_enqueue, takes="(task, info, error)")
        self._location = location
        self.registry = Registry()
        self._hooks = TickHooks(before=pre_enqueue, after=post_enqueue)
        self._ticker = Ticker(
            broker,
            self.registry,
            catch_up=(catch_up or timedelta()) // _MILLISECOND,
            hooks=self._hooks,
            new_id=random_id,
        )
        self._id = f"{host()}:{os.getpid()}:{random_id()}"
        last = ClearScheduler(scheduler_id=self._id)
        self._heartbeat = Heartbeat(broker, self._beat, last, self._ticker.time)
        self._is_seen = broker.capabilities.supports(WriteScheduler, ClearScheduler)

    def entry(self, spec: str, task: Task, over: Options) -> Entry:
        """Make the entry of a periodic task. Raises as `Entry.of`."""
        return Entry.of(spec, task, over, self._location)

    def loops(self, rng: Random) -> list[IntervalLoop]:
        """The background loops, for the running event loop. Every change of the entries wakes them."""
        loop = asyncio.get_running_loop()
        parts = [IntervalLoop("scheduling", self._ticker.step, interval=MAX_PAUSE, rng=rng)]
        if self._is_seen:
            beat = self._heartbeat.step
            parts.append(
                IntervalLoop("heartbeat", beat, interval=SCHEDULER_HEARTBEAT_INTERVAL, rng=rng, gap=1.0)
            )

        def follow() -> None:
            for part in parts:
                loop.call_soon_threadsafe(part.wake)

        self.registry.changed = follow
        return parts

    @property
    def calls_user(self) -> bool:
        """Whether a hook is running."""
        return self._hooks.calling

    async def end(self, *, answered: bool) -> None:
        """Remove the scheduler's record. `answered`: whether the broker answered recently."""
        self.registry.changed = _nothing
        if self._is_seen:
            await self._heartbeat.end(answered=answered)

    def _beat(self) -> WriteScheduler:
        ttl = int(2000 * SCHEDULER_HEARTBEAT_INTERVAL)
        return WriteScheduler(scheduler_id=self._id, entries=self._ticker.described(), ttl=ttl)


def _nothing() -> None:
    """Ignore a change of the entries, after the end."""
