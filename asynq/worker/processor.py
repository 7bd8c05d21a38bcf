"""Processor: fetches tasks, runs them and settles them. Settlements and fetches share requests."""

from __future__ import annotations

import asyncio
import math
import types
from typing import TYPE_CHECKING, Any, Literal

from asynq.errors import AsynqError, LeaseLostError
from asynq.errors.base import ANY_FAILURE
from asynq.handlers.outcome import Cancelled, Interrupted, Succeeded, decide
from asynq.handlers.runner import CANCEL_GRACE, Runner
from asynq.ids import random_id
from asynq.protocol.ops import ExtendLease, Requeue
from asynq.runtime import timeouts
from asynq.runtime.awake import AwakeLoop
from asynq.runtime.interval_loop import JITTER
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.lazy_timer import LazyTimer
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls
from asynq.worker.exchanges import ExchangePlan
from asynq.worker.failure_log import FailureLog
from asynq.worker.fetcher import Fetcher
from asynq.worker.leases.extension_schedule import LeaseLost
from asynq.worker.settler import MAX_SETTLEMENTS, SETTLE_TIMEOUT, Ending, Settler

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from asynq.handlers.hooks import Hooks
    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.handlers.run import Run
    from asynq.handlers.runner import Report
    from asynq.protocol.broker import Broker, CancelRequested
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op
    from asynq.worker.fetcher import Fetch
    from asynq.worker.leases.extension_schedule import LeaseEvent
    from asynq.worker.leases.keeper import LeaseKeeper
    from asynq.worker.settings import ProcessorSettings
    from asynq.worker.wakeups import Wakeups

log = get_logger("asynq.processor")

SHUTDOWN_CANCEL_GRACE = 1.0
"""Seconds that handlers have to end after a shutdown cancelled them."""
LAST_FETCH_TIMEOUT = 1.0
"""Seconds that a shutdown without active tasks waits for the reply to a fetch."""
FORCED_DRAIN_TIMEOUT = 0.2
"""Seconds that each step of a forced shutdown waits."""
BUSY_THRESHOLD = 1.0
"""Seconds of full fetches after which the worker counts as busy."""


class Processor:
    """Runs up to `concurrency` tasks at the same time. Belongs to one event loop.

    A task is active, and its lease is extended, from its delivery until the broker has recorded its
    settlement. A slot becomes free when the handler has actually ended, which may be later than its outcome.
    """

    def __init__(
        self,
        broker: Broker,
        settings: ProcessorSettings,
        *,
        runner: Callable[..., Runner],
        keeper: LeaseKeeper,
        hooks: Hooks,
        time: BrokerTime,
        token: Callable[[], str] = random_id,
    ) -> None:
        self._calls = AwaitedCalls(broker)
        self._runner = runner(on_reports=self._runs_ended)
        self.left = settings.max_tasks  # runs that may still start
        self._settings = settings
        self._keeper = keeper
        self._hooks = hooks
        self._time = time
        self._loop = asyncio.get_running_loop()
        self._failures = FailureLog()
        self._wakeups: Wakeups | None = None
        self._fetcher = Fetcher(settings, time=time, token=token)
        self.queues_changed = self._fetcher.queues_changed
        """Serve the present queues of the settings. `wake` follows."""

        self._active: set[Run] = set()
        """The runs whose leases are extended: from their delivery until they are settled."""
        self._plan = ExchangePlan(settings, concurrent_calls=broker.capabilities.concurrent_calls)
        self.exchanges = self._plan.most
        """Maximum number of exchanges with this broker at the same time."""
        self._exchanging = 0
        """Number of exchanges with the broker under way."""
        self._awake = AwakeLoop(lambda: self._exchanging and not self._runner.running)
        self._busy_since: float | None = None
        self._fetching = True
        self._closing = False
        self._poll_timer = LazyTimer(self._poll)
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._ended = asyncio.Event()
        """Set when a run has its outcome or a slot becomes free."""
        self._settler = Settler(
            settings,
            active=self._active,
            keeper=keeper,
            hooks=hooks,
            wake=self._changed.set,
            report=self._report,
        )

    @property
    def _free_slots(self) -> int:
        return min(self._settings.concurrency - len(self._runner.running), self.left) - self._fetcher.reserved

    # --- requests from outside ----------------------------------------------------------------------

    def use_wakeups(self, wakeups: Wakeups) -> None:
        """Arm these wake-ups while idle, and poll at their interval."""
        self._wakeups = wakeups

    def wake(self, queue: str | None = None) -> None:
        """Fetch soon: tasks may be available in this queue. None: in any queue."""
        self._fetcher.want(queue)
        if self._free_slots > 0:
            self._changed.set()

    def cancel(self, request: CancelRequested) -> None:
        """Cancel the runs of the requested task."""
        for run in self.runs():
            message = run.delivery.message
            if message.id == request.task_id and request.queue in (None, message.queue):
                run.cancel(Cancelled(request.then))

    def lease_event(self, event: LeaseEvent) -> None:
        """Cancel the run whose lease is lost or whose task has a recorded cancellation."""
        stop = Interrupted("lease_lost") if isinstance(event, LeaseLost) else Cancelled(event.then)
        for run in self.runs():
            if run.lease == event.lease:
                run.cancel(stop)

    def runs(self) -> list[Run]:
        """The current runs."""
        return [run for run in list(self._active) if run.started]

    def stop(self) -> None:
        """Stop fetching tasks."""
        self._fetching = False
        self._changed.set()

    async def wait_drained(self) -> None:
        """Wait until no task is active and no fetch is pending."""
        while self._active or self._fetcher.under_way:
            self._drained.clear()
            await self._drained.wait()

    async def drain(self, seconds: float, force: asyncio.Event) -> bool:
        """Stop fetching, wait for the active tasks, settle them, and end `run`.

        After `seconds`, the remaining handlers are cancelled and have SHUTDOWN_CANCEL_GRACE seconds to end;
        `force` ends both waits. Tasks of handlers that did not finish return to the head of their queues.
        Without active tasks, a pending fetch has LAST_FETCH_TIMEOUT seconds; the leases of tasks that it may
        have fetched expire. Returns whether the broker answered in time.
        """
        self.stop()
        forced = asyncio.create_task(force.wait())
        drained = asyncio.create_task(self.wait_drained())
        if not self._active:
            await timeouts.wait((drained,), LAST_FETCH_TIMEOUT)
        if self._active:
            await self._end_runs(seconds, forced, drained)
        for waiting in (forced, drained):
            waiting.cancel()
        self._closing = True
        self._changed.set()
        return not self._active and not self._fetcher.under_way

    async def _end_runs(
        self, seconds: float, forced: asyncio.Task[Literal[True]], drained: asyncio.Task[None]
    ) -> None:
        ended = asyncio.create_task(self._wait_runs_ended())
        await timeouts.wait((forced, ended), seconds, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            for run in self.runs():
                run.cancel(Interrupted("shutdown"))
            grace = SHUTDOWN_CANCEL_GRACE
            await timeouts.wait((forced, ended), grace, return_when=asyncio.FIRST_COMPLETED)
            await timeouts.wait((ended,), FORCED_DRAIN_TIMEOUT)
            for run in self.runs():
                run.abandon()
            ended.cancel()
        # A forced shutdown from here on stops the wait for the broker.
        settled = (drained,) if forced.done() else (drained, forced)
        await timeouts.wait(settled, SETTLE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        await timeouts.wait((drained,), FORCED_DRAIN_TIMEOUT)
        if self._active:
            log.error("%d tasks could not be settled: their leases will expire", len(self._active))

    async def aclose(self) -> None:
        """Cancel all remaining runs."""
        self._poll_timer.close()
        self._runner.close()

    # --- the main loop ------------------------------------------------------------------------------

    async def run(self) -> None:
        """Fetch, run and settle tasks until `drain` has ended. `exchanges` such loops share the work."""
        while not self._closing:
            self._changed.clear()
            free, ended, active = self._free_slots, self._settler.waiting, len(self._active)
            full, exchanging, asking = self._fetcher.full, self._exchanging, self._fetcher.asking
            share = self._plan.next(
                exchanging, asking=asking, free=free, ended=ended, active=active, full=full
            )
            if share is None:
                await self._changed.wait()
                continue
            fetch = self._next_fetch(share.fetch) if share.fetch else None
            settlements = self._settler.take(share.settle if fetch else MAX_SETTLEMENTS)
            if settlements or fetch:
                self._exchanging += 1
                try:
                    await self._exchange(settlements, fetch)
                finally:
                    self._exchanging -= 1
                self._changed.set()
            else:
                await self._idle()

    def _next_fetch(self, most: int) -> Fetch | None:
        if self._loop.time() < self._fetcher.not_before:
            return None
        if again := self._fetcher.take_lost():
            return again
        if not self._fetching or (count := min(self._free_slots, most)) <= 0:
            return None
        running = (run.delivery.message.queue for run in self._runner.running)
        return self._fetcher.take(count, running, informed=self._wakeups is not None and self._wakeups.armed)

    async def _exchange(self, settlements: list[Ending], fetch: Fetch | None) -> None:
        ops: list[Op[Any]] = [ending.op for ending in settlements]
        if fetch:
            ops.append(fetch.op)
        answers: Sequence[Any]
        if self._fetcher.full:
            self._awake.stay()
        try:
            answers = await execute_isolated(self._calls, ops)
        except AsynqError as error:
            answers = [error.with_traceback(None)] * len(ops)
        if not fetch:
            await _turns(1)  # A fetch that waits to be sent goes first: slots are idle until its reply.
        self._fetcher.wanted |= self._settler.handle_answers(settlements, answers[: len(settlements)])
        if fetch and await self._fetched(fetch, answers[-1]):
            # Handlers take their first steps, and those that end with it are reported. The next exchange
            # would delay them, and it settles those that have ended.
            await _turns(2)
        self._check_drained()

    async def _idle(self) -> None:
        """Wait for a change. After the poll interval, fetch again."""
        now, until = self._loop.time(), math.inf
        if now < self._fetcher.not_before:
            until = self._fetcher.not_before
        elif self._fetching and self._wakeups:
            pause = self._wakeups.poll if self._free_slots else BUSY_THRESHOLD
            until = now + pause * self._settings.rng.uniform(1 - JITTER, 1 + JITTER)
        self._poll_timer.set(until)
        await self._changed.wait()
        self._poll_timer.set(math.inf)

    def _poll(self) -> None:
        self.wake()
        if self._wakeups and not self._free_slots:
            self._wakeups.disarm()
        self._changed.set()

    # --- fetching -----------------------------------------------------------------------------------

    async def _fetched(self, fetch: Fetch, answer: tuple[Delivery, ...] | AsynqError) -> bool:
        """Handle the reply to a fetch. Returns whether handlers are about to start."""
        if isinstance(answer, AsynqError):
            self._fetcher.failed(fetch, answer)
            return False
        self._update_wakeups(busy=self._fetcher.succeeded(fetch, answer))
        deliveries: Sequence[Delivery] = answer
        late = self._loop.time() - fetch.sent_at > self._settings.lease / 1000 / 3
        if late and deliveries:
            deliveries = await self._with_valid_lease(deliveries)
        if not self._fetching:
            self._return(deliveries)
            return False
        self._start_runs(deliveries, fetch.mark)
        return bool(deliveries)

    def _update_wakeups(self, *, busy: bool) -> None:
        """Arm the wake-ups when there are fewer tasks than slots, and disarm them when the worker is busy."""
        self._busy_since = (self._busy_since or self._loop.time()) if busy else None
        if self._wakeups and not busy:
            self._wakeups.arm()
        elif self._wakeups and self._busy_since and self._loop.time() - self._busy_since > BUSY_THRESHOLD:
            self._wakeups.disarm()

    async def _with_valid_lease(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries whose lease did not expire while this event loop was blocked."""
        ops = [ExtendLease(lease=delivery.lease, duration=self._settings.lease) for delivery in deliveries]
        try:
            answers = await execute_isolated(self._calls, ops)
        except AsynqError:
            return list(deliveries)
        kept = zip(deliveries, answers, strict=True)
        return [delivery for delivery, answer in kept if not isinstance(answer, LeaseLostError)]

    def _start_runs(self, deliveries: Sequence[Delivery], mark: int) -> None:
        if not deliveries:
            return
        if delivered_at := max([delivery.delivered_at for delivery in deliveries]):
            self._time.update(delivered_at, sent=mark)
        now = self._time.now()
        runs = [self._runner.create(delivery, now) for delivery in deliveries]
        self._active.update(runs)
        self.left -= len(runs)
        # Before the handlers start, because one of them may block this event loop. At most until the end of
        # the run, its grace and its settlement.
        extra = CANCEL_GRACE + self._settings.lease / 1000
        self._keeper.hold({run.lease: max(run.limit - now, 0) / 1000 + extra for run in runs})
        self._hooks.started(runs, now)
        self._runner.start(runs)

    def _return(self, deliveries: Sequence[Delivery]) -> None:
        """Requeue tasks that arrived after `stop`."""
        now = self._time.now()
        for delivery in deliveries:
            run = self._runner.create(delivery, now)
            self._active.add(run)
            self._settler.add(Ending(run, Requeue(delivery=delivery), None))

    # --- settling -----------------------------------------------------------------------------------

    def _runs_ended(self, reports: Sequence[Report]) -> None:
        """Settle the runs that have ended in the last iteration of the event loop; slots may be free."""
        now = self._time.now()
        self._hooks.runs_ended(reports, now)
        for run, outcome in reports:
            if outcome is not None:
                self._settle(run, outcome, now)
        if limited := self._settings.queues.limits.own:
            freed = (run.delivery.message.queue for run, _ in reports if run.finished)
            self._fetcher.wanted |= any(queue in limited for queue in freed)
        self._ended.set()
        self._changed.set()

    def _settle(self, run: Run, outcome: Outcome, now: int) -> None:
        op = decide(run.delivery, outcome, self._settings.rules, now)
        # Before logging and hooks: if these fail, the task must be settled all the same.
        if op is not None:
            self._settler.add(Ending(run, op, outcome))
        if not isinstance(outcome, Succeeded):
            self._report(run, op, outcome)
        if op is None:
            self._settler.release([run])  # which has no context from now on
            self._check_drained()

    def _report(self, run: Run, op: Settlement | None, outcome: Outcome) -> None:
        """Log how a run failed and call the hooks."""
        message = run.delivery.message
        try:
            if op is None:
                self._hooks.became(message, "lease_lost")
                log.warning("task %r of queue %r: the lease is lost", message.id, message.queue)
            else:
                self._failures.log(op, outcome)
            self._hooks.ended(outcome, message, run.context)
        except ANY_FAILURE:
            log.exception("task %r is settled, but reporting its outcome failed", message.id)

    def _check_drained(self) -> None:
        if not self._active and not self._fetcher.under_way:
            self._drained.set()

    async def _wait_runs_ended(self) -> None:
        """Wait until every run has its outcome, settled or not."""
        while any(not run.has_outcome for run in self.runs()):
            self._ended.clear()
            await self._ended.wait()


@types.coroutine
def _turns(count: int) -> Generator[None, None, None]:
    """Let everything else that is ready run, this many times. Each is an `asyncio.sleep(0)`."""
    for _ in range(count):
        yield
