"""Takes ripe groups and has them aggregated, several at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import define

from asynq.client.client import random_id
from asynq.clock import SteadyClock
from asynq.errors import AggregationError, AggregationLostError, AsynqError
from asynq.errors.base import ANY_FAILURE
from asynq.protocol.ops import ListGroups, TakeGroup
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff, ErrorReporter
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
"""Groups aggregated at once."""
CHECK_INTERVAL = 2.0
"""Longest pause in seconds: a group may also become ripe by its size."""
MIN_PAUSE = 0.2
"""Shortest pause in seconds."""
MAX_GROUP_BACKOFF = 60.0
"""Longest pause in seconds of a group that could not be aggregated."""
TAKE_TIMEOUT = 1.0
"""Seconds a shutdown waits for the answer to a taking; what it may have taken returns when its hold ends."""
RETURN_TIMEOUT = 5.0
"""Seconds a shutdown waits for sets to be returned."""

_Key = tuple[str, str]


@define
class _Rest:
    """A group is left alone for a while after a failure."""

    backoff: Backoff
    until: int = 0


class Aggregator:
    """Each step finds ready groups and aggregates up to MAX_AGGREGATIONS of them in the background."""

    def __init__(
        self,
        broker: Broker,
        queues: Sequence[str],
        grouping: AggregationSettings,
        *,
        rng: Random,
        aggregated: Callable[[], None],
        report: Callable[[Exception, TaskMessage], None],
        new_id: Callable[[], str] = random_id,
    ) -> None:
        """`aggregated` is called when a task was enqueued, `report` with a failure and its oldest task."""
        self._broker = broker
        self._queues = queues
        self._grouping = grouping
        # Of its own, so that handlers and aggregators never wait for one another.
        self._threads = DaemonThreadPool(MAX_AGGREGATIONS, "asynq-aggregator")
        self._rng = rng
        self._new_id = new_id
        self._aggregated = aggregated
        self._report = report
        self._clock = broker.clock or SteadyClock()
        self._sweep = QueueSweep(broker, "looking for groups")
        self._troubles = ErrorReporter(log, "taking groups")
        self._ripe: deque[_Key] = deque()
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._in_hand: set[_Key] = set()
        """The groups of `_running` whose tasks were taken."""
        self._resting: dict[_Key, _Rest] = {}
        self._stopped = False

    async def step(self) -> float | None:
        """Find ripe groups, unless those found before still wait; seconds until another may be ripe."""
        pause = CHECK_INTERVAL
        if not self._ripe:
            pause = await self._look()
            self._fill()
        return max(pause, MIN_PAUSE)

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Take no more groups; give those in hand so long, or until hurried, then return their sets."""
        self._stopped = True
        self._ripe.clear()
        if self._running.keys() - self._in_hand:
            await timeouts.wait(list(self._running.values()), min(TAKE_TIMEOUT, seconds))
            for key in self._running.keys() - self._in_hand:
                self._running[key].cancel()
        if self._running:
            ending = asyncio.create_task(asyncio.wait(list(self._running.values())))
            hurried = asyncio.create_task(hurry.wait())
            await timeouts.wait((ending, hurried), seconds, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            hurried.cancel()
        await self.aclose()

    async def aclose(self) -> None:
        """End at once; sets in hand are returned."""
        self._stopped = True
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await timeouts.wait(running, RETURN_TIMEOUT)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _look(self) -> float:
        pause, cursors = CHECK_INTERVAL, dict.fromkeys(self._queues, "")
        self._forget_rests()
        while cursors:
            pages = await self._sweep.run(
                {queue: ListGroups(queue=queue, cursor=cursor) for queue, cursor in cursors.items()}
            )
            for queue, page in pages.items():
                for group in page.groups:
                    if (wait := self._grouping.ripe_in(group)) == 0:
                        self._ripe.append((queue, group.name))
                    else:
                        pause = min(pause, wait / 1000)
            cursors = {queue: page.cursor for queue, page in pages.items() if page.cursor}
        return pause

    def _fill(self) -> None:
        while self._ripe and len(self._running) < MAX_AGGREGATIONS and not self._stopped:
            key = self._ripe.popleft()
            rest = self._resting.get(key)
            if key in self._running or (rest and rest.until > self._clock.now()):
                continue
            self._running[key] = asyncio.create_task(self._attend(key), name=f"asynq group {key[1]}")

    async def _attend(self, key: _Key) -> None:
        try:
            while not self._stopped and (taken := await self._take(key)):
                self._in_hand.add(key)
                done = await self._aggregate(taken)
                self._in_hand.discard(key)
                if not done:
                    self._rest(key)
                    break
                self._resting.pop(key, None)
                self._aggregated()
        except AsynqError as error:
            self._troubles.failed(error, key[0])
        except ANY_FAILURE:
            log.exception("group %r of queue %r is not aggregated", key[1], key[0])
            self._rest(key)
        finally:
            self._in_hand.discard(key)
            del self._running[key]
            self._fill()

    async def _take(self, key: _Key) -> AggregationSet | None:
        grouping = self._grouping
        op = TakeGroup(
            queue=key[0],
            group=key[1],
            set_id=self._new_id(),
            grace=grouping.grace,
            max_delay=grouping.max_delay,
            max_size=grouping.max_size,
            hold=SET_HOLD,
        )
        taken = await self._broker.aexecute(op)
        self._troubles.worked(key[0])
        return taken

    async def _aggregate(self, taken: AggregationSet) -> bool:
        """Whether the aggregate has taken the place of its tasks."""
        aggregation = Aggregation(
            broker=self._broker,
            taken=taken,
            aggregate=self._grouping.aggregate,
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

    def _rest(self, key: _Key) -> None:
        rest = self._resting.setdefault(key, _Rest(Backoff(self._rng, first=1.0, cap=MAX_GROUP_BACKOFF)))
        rest.until = self._clock.now() + round(rest.backoff.pause() * 1000)

    def _forget_rests(self) -> None:
        """Groups that failed and were then emptied by others would be remembered for ever."""
        long_ago = self._clock.now() - round(10 * MAX_GROUP_BACKOFF * 1000)
        self._resting = {key: rest for key, rest in self._resting.items() if rest.until > long_ago}
