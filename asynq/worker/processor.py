"""The pump: takes tasks, runs them, settles them; settling and taking share one write."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from asynq.errors import AsynqError, LeaseLostError
from asynq.errors.base import ANY_FAILURE
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, decide
from asynq.handlers.runner import CANCEL_GRACE, Run
from asynq.protocol.answers import may_be_applied
from asynq.protocol.ops import DEQUEUE_SOFT_LIMIT_BYTES, MAX_BATCH, Dequeue, ExtendLease, Requeue
from asynq.runtime import timeouts
from asynq.runtime.backoff import Backoff, ErrorReporter
from asynq.runtime.interval_loop import JITTER, wait_with_timeout
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls
from asynq.worker.failure_log import FailureLog
from asynq.worker.leases.extension_schedule import LeaseLost
from asynq.worker.settler import SETTLE_TIMEOUT, ActiveTask, Settler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.handlers.executors import Executors
    from asynq.handlers.hooks import Hooks
    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.protocol.broker import Broker, CancelRequested
    from asynq.protocol.broker_time import BrokerTime
    from asynq.protocol.message import Delivery, Lease
    from asynq.protocol.ops import Op
    from asynq.worker.leases.extension_schedule import LeaseEvent
    from asynq.worker.leases.keeper import LeaseKeeper
    from asynq.worker.settings import ProcessorSettings
    from asynq.worker.wakeups import Wakeups

log = get_logger("asynq.processor")

SHUTDOWN_CANCEL_GRACE = 1.0
"""Seconds handlers have to end when a shutdown told them to."""
LAST_FETCH_TIMEOUT = 1.0
"""Seconds a shutdown with nothing in hand waits for the answer to a fetch."""
FORCED_DRAIN_TIMEOUT = 0.2
"""The same when nobody waits any longer."""
BUSY_THRESHOLD = 1.0
"""Seconds of finding all the tasks that were asked for until the worker counts as busy."""


class Processor:
    """Keeps `concurrency` runs going while there are tasks. Belongs to one event loop.

    A task stays held, and its lease extended, from its delivery until the broker took its settlement. A
    place becomes free when the handler has really ended. Each fetch has a token of its own and is repeated
    with it until its answer is known, so that no task is taken by a fetch whose reply was lost.
    """

    def __init__(
        self,
        broker: Broker,
        step: HandlerAdapter,
        terms: ProcessorSettings,
        *,
        keeper: LeaseKeeper,
        executors: Executors,
        hooks: Hooks,
        time: BrokerTime,
        token: Callable[[], str] = lambda: secrets.token_hex(12),
    ) -> None:
        self._broker = broker
        self._calls = AwaitedCalls(broker)
        self._step = step
        self._terms = terms
        self._keeper = keeper
        self._executors = executors
        self._hooks = hooks
        self._time = time
        self._token = token
        self._loop = asyncio.get_running_loop()
        self._fetch_backoff = Backoff(terms.rng)
        self._fetching = ErrorReporter(log, "fetching tasks")
        self._failures = FailureLog()
        self._wakeups: Wakeups | None = None

        self._held: dict[Lease, ActiveTask] = {}
        self._places: set[asyncio.Task[None]] = set()
        self._running: Counter[str] = Counter()
        self._fetch: Dequeue | None = None
        self._fetch_sent_at = 0.0
        self._fetch_mark = 0
        self._not_before = 0.0
        self._busy_since: float | None = None
        self._hungry = True
        self._pulling = True
        self._closing = False
        self._changed = asyncio.Event()
        self._quiet = asyncio.Event()
        self._ended = asyncio.Event()
        """Set when a run has ended."""
        self._settling = Settler(
            terms, held=self._held, keeper=keeper, hooks=hooks, wake=self._changed.set, tell=self._tell
        )

    @property
    def _free(self) -> int:
        return self._terms.concurrency - len(self._places)

    # --- what others tell it ------------------------------------------------------------------------

    def woken_by(self, wakeups: Wakeups) -> None:
        """Ask these wake-ups to be woken while idle, and poll at their pace."""
        self._wakeups = wakeups

    def wake(self) -> None:
        """There may be tasks now."""
        self._hungry = True
        if self._free > 0:
            self._changed.set()

    def cancel(self, request: CancelRequested) -> None:
        """End the runs of a task somebody wants to end."""
        for held in self._held.values():
            message = held.delivery.message
            if held.run and message.id == request.task_id and request.queue in (None, message.queue):
                held.run.cancel(Cancelled(request.then))

    def lease_event(self, event: LeaseEvent) -> None:
        """End the run whose lease is lost or whose task carries a cancellation."""
        held = self._held.get(event.lease)
        if held and held.run:
            stop = Interrupted("lease_lost") if isinstance(event, LeaseLost) else Cancelled(event.then)
            held.run.cancel(stop)

    def runs(self) -> list[Run]:
        """The runs under way."""
        return [held.run for held in self._held.values() if held.run]

    def stop(self) -> None:
        """Take no more tasks."""
        self._pulling = False
        self._changed.set()

    async def drain(self, seconds: float, hurry: asyncio.Event) -> bool:
        """Take no more tasks, finish those in hand, and end `run`; whether the broker answered in time.

        After so many seconds handlers are told to end, and have a moment to do so; neither lasts when
        hurried. Tasks of handlers that did not finish go back to the head of their queues. With nothing in
        hand a fetch under way gets LAST_FETCH_TIMEOUT: what it may have taken lapses.
        """
        self.stop()
        hurried = asyncio.create_task(hurry.wait())
        quiet = asyncio.create_task(self._when_quiet())
        if not self._held:
            await timeouts.wait((quiet,), LAST_FETCH_TIMEOUT)
        if self._held:
            await self._end_runs(seconds, hurried, quiet)
        for waiting in (hurried, quiet):
            waiting.cancel()
        self._closing = True
        self._changed.set()
        return not self._held and self._fetch is None

    async def _end_runs(
        self, seconds: float, hurried: asyncio.Task[Literal[True]], quiet: asyncio.Task[None]
    ) -> None:
        ended = asyncio.create_task(self._when_ended())
        await timeouts.wait((hurried, ended), seconds, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done():
            for run in self.runs():
                run.cancel(Interrupted("shutdown"))
            await timeouts.wait((hurried, ended), SHUTDOWN_CANCEL_GRACE, return_when=asyncio.FIRST_COMPLETED)
            await timeouts.wait((ended,), FORCED_DRAIN_TIMEOUT)
            for run in self.runs():
                run.abandon()
            ended.cancel()
        # A request to hurry that comes only now is about the broker.
        settled = (quiet,) if hurried.done() else (quiet, hurried)
        await timeouts.wait(settled, SETTLE_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
        await timeouts.wait((quiet,), FORCED_DRAIN_TIMEOUT)
        if self._held:
            log.error("%d tasks could not be settled: their leases will lapse", len(self._held))

    async def aclose(self) -> None:
        """Wait for nothing more: cancel what still runs."""
        for place in self._places:
            place.cancel()
        if self._places:
            await timeouts.wait(self._places, 1.0)

    # --- the pump -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Take, run and settle tasks until `drain` has ended."""
        while not self._closing:
            self._changed.clear()
            settlements = self._settling.take()
            fetch = self._next_fetch()
            if settlements or fetch:
                await self._exchange(settlements, fetch)
            else:
                await self._idle()

    def _next_fetch(self) -> Dequeue | None:
        if self._loop.time() < self._not_before:
            return None
        if self._fetch is None:
            if not self._pulling or not self._hungry or self._free <= 0:
                return None
            orders = self._terms.preference.orders(min(self._free, MAX_BATCH), self._terms.rng)
            limits = self._terms.limits
            orders = limits.allowed(orders, self._running)
            if not orders:
                return None
            self._fetch = Dequeue(
                orders=orders, token=self._token(), lease=self._terms.lease, limits=limits.shared
            )
            self._fetch_sent_at = self._loop.time()
            self._fetch_mark = self._time.mark()
        return self._fetch

    async def _exchange(self, settlements: list[Settlement], fetch: Dequeue | None) -> None:
        ops: list[Op[Any]] = [*settlements, fetch] if fetch else [*settlements]
        self._hungry = self._hungry and fetch is None
        answers: Sequence[Any]
        try:
            answers = await execute_isolated(self._calls, ops)
        except AsynqError as error:
            answers = [error.with_traceback(None)] * len(ops)
        self._hungry |= self._settling.answered(settlements, answers[: len(settlements)])
        if fetch:
            await self._fetched(fetch, answers[-1])
        self._mark_quiet()

    async def _idle(self) -> None:
        """Wait for something to do; look for tasks again when nothing comes for long."""
        now, pause = self._loop.time(), None
        if now < self._not_before:
            pause = self._not_before - now
        elif self._pulling and self._wakeups:
            pause = self._wakeups.poll if self._free else BUSY_THRESHOLD
            pause *= self._terms.rng.uniform(1 - JITTER, 1 + JITTER)
        await wait_with_timeout(self._changed, pause)
        if not self._changed.is_set():
            self._hungry = True
            if self._wakeups and not self._free:
                self._wakeups.disarm()

    # --- taking -------------------------------------------------------------------------------------

    async def _fetched(self, fetch: Dequeue, answer: tuple[Delivery, ...] | AsynqError) -> None:
        if isinstance(answer, AsynqError):
            self._fetching.failed(answer)
            if not may_be_applied(answer):
                self._fetch = None
            self._hungry = True
            self._not_before = self._loop.time() + self._fetch_backoff.pause()
            return
        self._fetching.worked()
        self._fetch_backoff.reset()
        self._fetch = None
        self._note_supply(full=len(answer) == len(fetch.orders))
        # An order may have lacked a queue that is limited but has tasks left: ask until nothing comes.
        self._hungry |= bool(answer and self._terms.limits.own)
        # Large tasks may have been left for the next fetch, so that this one's answer came in time.
        self._hungry |= sum(len(delivery.message.payload) for delivery in answer) >= DEQUEUE_SOFT_LIMIT_BYTES
        deliveries: Sequence[Delivery] = answer
        late = self._loop.time() - self._fetch_sent_at > self._terms.lease / 1000 / 3
        if late and deliveries:
            deliveries = await self._still_ours(deliveries)
        if not self._pulling:
            for delivery in deliveries:
                self._held[delivery.lease] = ActiveTask(delivery)
                self._settling.add(Requeue(delivery=delivery))
            return
        begun = [self._begin(delivery) for delivery in deliveries]
        self._keeper.hold({held.delivery.lease: self._hold_seconds(held) for held in begun})

    def _note_supply(self, *, full: bool) -> None:
        """Be woken when there are fewer tasks than places, but not while there are always enough."""
        if full:
            self._hungry = True
            self._busy_since = self._busy_since or self._loop.time()
        else:
            self._busy_since = None
        if self._wakeups and not full:
            self._wakeups.arm()
        elif self._wakeups and self._busy_since and self._loop.time() - self._busy_since > BUSY_THRESHOLD:
            self._wakeups.disarm()

    async def _still_ours(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """The deliveries whose lease did not lapse while this loop was held up."""
        ops = [ExtendLease(lease=delivery.lease, duration=self._terms.lease) for delivery in deliveries]
        try:
            answers = await execute_isolated(self._calls, ops)
        except AsynqError:
            return list(deliveries)
        kept = zip(deliveries, answers, strict=True)
        return [delivery for delivery, answer in kept if not isinstance(answer, LeaseLostError)]

    def _begin(self, delivery: Delivery) -> ActiveTask:
        held = self._held[delivery.lease] = ActiveTask(delivery)
        if delivery.delivered_at:
            self._time.update(delivery.delivered_at, sent=self._fetch_mark)
        clock = self._time.snapshot()
        try:
            run = Run(delivery, self._step, broker=self._broker, executors=self._executors, clock=clock)
        except Exception as error:  # noqa: BLE001 - it is logged as the task's failure
            self._conclude(held, Failed(error))
            return held
        held.run = run
        self._hooks.started(delivery.message, run.context)
        place = self._loop.create_task(self._carry_out(held, run))
        self._places.add(place)
        self._running[delivery.message.queue] += 1
        place.add_done_callback(partial(self._vacate, delivery.message.queue))
        return held

    def _hold_seconds(self, held: ActiveTask) -> float:
        """How long the lease may have to be extended: to the run's end, its grace, and its settlement."""
        left = held.run.seconds_left if held.run else 0.0
        return max(left, 0.0) + CANCEL_GRACE + self._terms.lease / 1000

    async def _carry_out(self, held: ActiveTask, run: Run) -> None:
        try:
            outcome = await run.execute()
        except Exception as error:
            log.exception("the run of task %r failed", held.delivery.message.id)
            run.abandon()
            outcome = Failed(error.with_traceback(None))
        self._conclude(held, outcome)
        if not run.finished.is_set():
            await run.finished.wait()

    def _vacate(self, queue: str, place: asyncio.Task[None]) -> None:
        self._places.discard(place)
        self._ended.set()
        self._running[queue] -= 1
        self._hungry |= queue in self._terms.limits.own
        self._changed.set()

    # --- settling -----------------------------------------------------------------------------------

    def _conclude(self, held: ActiveTask, outcome: Outcome) -> None:
        delivery = held.delivery
        op = decide(delivery, outcome, self._terms.rules, held.run.now if held.run else self._time.now())
        held.outcome = outcome
        self._ended.set()
        # Before anybody is told: a logger or a hook that fails must not leave the task unsettled.
        if op is None:
            self._settling.let_go([delivery.lease])
            self._mark_quiet()
        else:
            self._settling.add(op)
        self._changed.set()
        self._tell(held, op, outcome)

    def _tell(self, held: ActiveTask, op: Settlement | None, outcome: Outcome) -> None:
        """Log and report how a run ended, and what follows."""
        message = held.delivery.message
        try:
            if op is None:
                log.warning("task %r of queue %r: its lease is lost", message.id, message.queue)
            else:
                self._failures.log(op, outcome)
            self._hooks.ended(outcome, message, held.context)
        except ANY_FAILURE:
            log.exception("task %r is settled, but not all were told", message.id)

    def _mark_quiet(self) -> None:
        if not self._held and self._fetch is None:
            self._quiet.set()

    async def _when_ended(self) -> None:
        """Until every run has its outcome; it may still have to be settled."""
        while any(held.run and held.outcome is None for held in self._held.values()):
            self._ended.clear()
            await self._ended.wait()

    async def _when_quiet(self) -> None:
        """Until nothing is held and no fetch is unanswered."""
        while self._held or self._fetch is not None:
            self._quiet.clear()
            await self._quiet.wait()
