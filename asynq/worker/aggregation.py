"""Aggregation of one set: calls the user's aggregator and replaces the tasks of the set with its result."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.checks import check_count, check_positive, check_seconds
from asynq.client import traces as client_traces
from asynq.client.enqueue import compose
from asynq.client.options import Options
from asynq.client.task import Task
from asynq.errors import (
    AggregationError,
    AggregationLostError,
    AsynqError,
    BrokerUnavailable,
    NotReplicatedError,
)
from asynq.errors.text import error_text
from asynq.handlers import traces as handler_traces
from asynq.handlers.adapters import is_async
from asynq.protocol.ops import ExtendAggregation, FinishAggregation, ListGroups, ReturnAggregation, TakeGroup
from asynq.runtime.backoff import Backoff
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.threads import run_in_thread

if TYPE_CHECKING:
    from concurrent.futures import Executor
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq.protocol.groups import AggregationSet, GroupInfo
    from asynq.protocol.ops import Enqueue

Aggregate = Callable[[str, list[Task]], Task | Awaitable[Task]]
"""Takes the name of a group and its tasks, oldest first. Returns the task that replaces them."""

AGGREGATING = (ListGroups, TakeGroup, ExtendAggregation, FinishAggregation, ReturnAggregation)
"""The operations that a broker needs for aggregation."""
SET_HOLD = 120_000
"""Milliseconds after which the set of a lost server may be reclaimed, as in Go's asynq."""
_MILLISECOND = timedelta(milliseconds=1)


@frozen(kw_only=True)
class AggregationSettings:
    """When and how a server aggregates groups. Durations are in milliseconds."""

    aggregate: Aggregate
    grace: int
    max_delay: int = 0
    """0 for none."""
    max_size: int = 0
    """0 for none."""

    @classmethod
    def of(
        cls,
        aggregator: Aggregate | None,
        grace_period: timedelta,
        max_delay: timedelta | None,
        max_size: int | None,
    ) -> AggregationSettings | None:
        """Validate the options of a server. Returns None if there is no aggregator.

        Raises:
            ValueError: an option has an invalid value; the message names the option.
            TypeError: an option has the wrong type; the message names the option.
        """
        check_seconds("group_grace_period", grace_period)
        if max_delay is not None:
            check_seconds("group_max_delay", max_delay)
        if max_size is not None:
            check_count("group_max_size", max_size)
            check_positive("group_max_size", max_size)
        if aggregator is None:
            return None
        return cls(
            aggregate=aggregator,
            grace=grace_period // _MILLISECOND,
            max_delay=max_delay // _MILLISECOND if max_delay else 0,
            max_size=max_size or 0,
        )

    def ready_in(self, group: GroupInfo) -> int:
        """Milliseconds until the group is ready if nothing is added to it. 0 if it is ready."""
        if 0 < self.max_size <= group.size:
            return 0
        waits = [self.grace - group.quiet]
        if self.max_delay:
            waits.append(self.max_delay - group.waiting)
        return max(min(waits), 0)


@frozen(kw_only=True)
class Aggregation:
    """The aggregation of one set of tasks."""

    broker: Broker
    taken: AggregationSet
    aggregate: Aggregate
    threads: Executor
    new_id: Callable[[], str]
    rng: Random
    hold: int = SET_HOLD
    """Milliseconds the set is held. The hold is extended four times within this time."""

    async def run(self) -> None:
        """Call the aggregator while holding the set, then replace the set with the returned task.

        If this is cancelled, the set returns to its group.

        Raises:
            AggregationError: the aggregator failed or its task was refused. The set returns to its group.
            AggregationLostError: another server reclaimed the set.
        """
        holding = asyncio.create_task(self._hold())
        working = asyncio.create_task(self._work())
        try:
            await asyncio.wait((holding, working), return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                holding.result()
            working.result()
        finally:
            holding.cancel()
            if working.cancel():
                await asyncio.wait((working,))
            # This frame is part of the error's traceback: it must not reference the error in turn.
            del holding, working

    async def _work(self) -> None:
        try:
            with handler_traces.aggregation(self.taken.queue, self.taken.messages):
                request = self._request(await self._call())
                with client_traces.sending([FinishAggregation(taken=self.taken, enqueue=request)]) as sent:
                    await self._finish(sent.requests[0])
        except AggregationLostError:
            raise
        except asyncio.CancelledError as error:
            await self._return()
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise self._failure(error) from error
        except BaseException as error:
            await self._return()
            raise self._failure(error) from error

    async def _call(self) -> object:
        group, tasks = self.taken.group, [Task.from_message(message) for message in self.taken.messages]
        if is_async(self.aggregate):
            answer: object = self.aggregate(group, tasks)
        else:
            answer = await run_in_thread(self.threads, self.aggregate, group, tasks)
        with ExitForkedChild():
            return await answer if inspect.isawaitable(answer) else answer

    def _request(self, task: object) -> Enqueue:
        if not isinstance(task, Task):
            raise TypeError(f"the aggregator must return a Task, not {type(task).__name__}")
        request = compose(task, Options(queue=self.taken.queue), self.new_id)
        if request.message.group == self.taken.group:
            raise ValueError(f"the aggregate must not join group {self.taken.group!r} that it replaces")
        return request

    async def _finish(self, request: FinishAggregation) -> None:
        """Replace the set. The operation is idempotent, so it is retried until the broker answers."""
        backoff = Backoff(self.rng)
        while True:
            try:
                await self.broker.aexecute(request)
            except (BrokerUnavailable, NotReplicatedError):
                await asyncio.sleep(backoff.pause())
            else:
                return

    async def _hold(self) -> None:
        """Extend the hold repeatedly. Raises AggregationLostError when the set is lost."""
        while True:
            await asyncio.sleep(self.hold / 4000)
            try:
                await self.broker.aexecute(ExtendAggregation(taken=self.taken, hold=self.hold))
            except AggregationLostError:
                raise
            except AsynqError:
                # Three more attempts are left. After that, another server may reclaim the set.
                continue

    async def _return(self) -> None:
        # A set that cannot be returned now is reclaimed when its hold ends.
        with suppress(AsynqError):
            await self.broker.aexecute(ReturnAggregation(taken=self.taken))

    def _failure(self, error: BaseException) -> AggregationError:
        taken = self.taken
        return AggregationError(taken.queue, taken.group, len(taken.messages), error_text(error))
