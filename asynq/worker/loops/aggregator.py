"""Aggregator: finds groups that are ready and aggregates several of them concurrently."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import define

from asynq.clock import SteadyClock
from asynq.errors import AggregationError, AggregationLostError, AsynqError
from asynq.errors.base import ANY_FAILURE
from asynq.ids import random_id
from asynq.protocol.ops import ListGroups, TakeGroup
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import DaemonThreadPool
from asynq.worker.aggregation import SET_HOLD, Aggregation, AggregationSettings
from asynq.worker.loops.queue_sweep import QueueSweep

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq.protocol.groups import AggregationSet
    from asynq.protocol.message import TaskMessage

log = get_logger("asynq.loops")

MAX_AGGREGATIONS = 4
"""Maximum number of groups aggregated at the same time."""
CHECK_INTERVAL = 2.0
"""Maximum pause in seconds between two checks, because a group can become ready by its size at any time."""
MIN_PAUSE = 0.2
"""Minimum pause in seconds between two checks."""
MAX_GROUP_BACKOFF = 60.0
"""Maximum back-off in seconds of a group that could not be aggregated."""
TAKE_TIMEOUT = 1.0
"""Seconds a shutdown waits for the reply to TakeGroup. A set that it may have taken returns by itself."""
RETURN_TIMEOUT = 5.0
"""Seconds a shutdown waits until sets are returned."""

_Key = tuple[str, str]


@define
class _GroupBackoff:
    """Until when a group is not aggregated, after a failure."""

    backoff: Backoff
    until: int = 0


class Aggregator:
    """Each step finds ready groups and aggregates up to MAX_AGGREGATIONS of them in the background."""

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        settings: AggregationSettings,
        *,
        rng: Random,
        on_aggregated: Callable[[str], None],
        report: Callable[[Exception, TaskMessage], None],
        new_id: Callable[[], str] = random_id,
    ) -> None:
        """Create it.

        Args:
            broker: the broker.
            queues: the queues of the server.
            settings: how the server aggregates.
            rng: source of the jitter.
            on_aggregated: called with the queue of an aggregate that was enqueued.
            report: called with a failure and the oldest task of its set.
            new_id: creates ids of sets and tasks.
        """
        self._broker = broker
        self._queues = queues
        self._settings = settings
        # A separate pool, so that handlers and aggregators never wait for each other.
        self._threads = DaemonThreadPool(MAX_AGGREGATIONS, "asynq-aggregator")
        self._rng = rng
        self._new_id = new_id
        self._on_aggregated = on_aggregated
        self._report = report
        self._clock = broker.clock or SteadyClock()
        self._sweep = QueueSweep(broker, "looking for groups")
        self._errors = ErrorReporter(log, "taking groups")
        self._ready: deque[_Key] = deque()
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._in_hand: set[_Key] = set()
        """The groups in `_running` whose tasks were taken."""
        self._backoffs: dict[_Key, _GroupBackoff] = {}
        self._stopped = False

    async def step(self) -> float | None:
        """Find ready groups, unless some still wait. Returns the seconds until another may be ready."""
        pause = CHECK_INTERVAL
        if not self._ready:
            pause = await self._find_ready()
            self._fill()
        return max(pause, MIN_PAUSE)

    async def finish(self) -> None:
        """Stop taking groups, and wait for the aggregations under way."""
        self._stopped = True
        self._ready.clear()
        if self._running:
            await asyncio.wait(list(self._running.values()))

    async def drain(self, seconds: float, force: asyncio.Event) -> None:
        """Stop taking groups, wait up to `seconds` or until forced, then return the remaining sets."""
        self._stopped = True
        self._ready.clear()
        if self._running.keys() - self._in_hand:
            await timeouts.wait(list(self._running.values()), min(TAKE_TIMEOUT, seconds))
            for key in self._running.keys() - self._in_hand:
                self._running[key].cancel()
        if self._running:
            ending = asyncio.create_task(asyncio.wait(list(self._running.values())))
            forced = asyncio.create_task(force.wait())
            await timeouts.wait((ending, forced), seconds, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            forced.cancel()
        await self.aclose()

    async def aclose(self) -> None:
        """Cancel all aggregations. Their sets are returned to their groups."""
        self._stopped = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await timeouts.wait(running, RETURN_TIMEOUT)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _find_ready(self) -> float:
        pause, cursors = CHECK_INTERVAL, dict.fromkeys(self._queues, "")
        self._forget_backoffs()
        while cursors:
            pages = await self._sweep.run(
                {queue: ListGroups(queue=queue, cursor=cursor) for queue, cursor in cursors.items()}
            )
            for queue, page in pages.items():
                for group in page.groups:
                    if (wait := self._settings.ready_in(group)) == 0:
                        self._ready.append((queue, group.name))
                    else:
                        pause = min(pause, wait / 1000)
            cursors = {queue: page.cursor for queue, page in pages.items() if page.cursor}
        return pause

    def _fill(self) -> None:
        while self._ready and len(self._running) < MAX_AGGREGATIONS and not self._stopped:
            key = self._ready.popleft()
            group_backoff = self._backoffs.get(key)
            if key in self._running or (group_backoff and group_backoff.until > self._clock.now()):
                continue
            self._running[key] = asyncio.create_task(self._process_group(key), name=f"asynq group {key[1]}")

    async def _process_group(self, key: _Key) -> None:
        try:
            while not self._stopped and (taken := await self._take(key)):
                self._in_hand.add(key)
                done = await self._aggregate(taken)
                self._in_hand.discard(key)
                if not done:
                    self._back_off(key)
                    break
                self._backoffs.pop(key, None)
                self._on_aggregated(key[0])
        except AsynqError as error:
            self._errors.failed(error, key[0])
        except ANY_FAILURE:
            log.exception("group %r of queue %r could not be aggregated", key[1], key[0])
            self._back_off(key)
        finally:
            self._in_hand.discard(key)
            del self._running[key]
            self._fill()

    async def _take(self, key: _Key) -> AggregationSet | None:
        settings = self._settings
        op = TakeGroup(
            queue=key[0],
            group=key[1],
            set_id=self._new_id(),
            grace=settings.grace,
            max_delay=settings.max_delay,
            max_size=settings.max_size,
            hold=SET_HOLD,
        )
        taken = await self._broker.aexecute(op)
        self._errors.worked(key[0])
        return taken

    async def _aggregate(self, taken: AggregationSet) -> bool:
        """Aggregate a set. Returns whether the aggregate has replaced its tasks."""
        aggregation = Aggregation(
            broker=self._broker,
            taken=taken,
            aggregate=self._settings.aggregate,
            threads=self._threads,
            new_id=self._new_id,
            rng=self._rng,
        )
        try:
            await aggregation.run()
        except AggregationLostError as error:
            log.warning("%s", error)
        except AggregationError as error:
            log.warning("%s", error, exc_info=error.__cause__)
            self._report(error, taken.messages[0])
        else:
            return True
        return False

    def _back_off(self, key: _Key) -> None:
        group_backoff = self._backoffs.setdefault(
            key, _GroupBackoff(Backoff(self._rng, first=1.0, cap=MAX_GROUP_BACKOFF))
        )
        group_backoff.until = self._clock.now() + round(group_backoff.backoff.pause() * 1000)

    def _forget_backoffs(self) -> None:
        """Remove entries of groups that failed long ago and may no longer exist."""
        long_ago = self._clock.now() - round(10 * MAX_GROUP_BACKOFF * 1000)
        self._backoffs = {
            key: group_backoff
            for key, group_backoff in self._backoffs.items()
            if group_backoff.until > long_ago
        }
