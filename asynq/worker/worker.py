"""One working life of a server: the pump, the loops and the lease keeper, wired together."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asynq.handlers.executors import Executors
from asynq.handlers.hooks import Hooks
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import ClearServer, ListGroups, ReclaimAggregations, RepairGroups, WriteServer
from asynq.runtime import timeouts
from asynq.runtime.heartbeat import Heartbeat
from asynq.runtime.interval_loop import POLL_INTERVAL, IntervalLoop
from asynq.runtime.loop_monitor import LoopMonitor
from asynq.worker.leases.keeper import LeaseKeeper
from asynq.worker.loops import janitor
from asynq.worker.loops.aggregator import CHECK_INTERVAL, Aggregator
from asynq.worker.loops.forwarder import Forwarder
from asynq.worker.loops.health_checker import HealthChecker
from asynq.worker.loops.janitor import Janitor
from asynq.worker.loops.reclaimer import GroupRepairer, Reclaimer
from asynq.worker.loops.recoverer import Adopter, Recoverer
from asynq.worker.loops.server_record import SERVER_HEARTBEAT_INTERVAL, ServerRecord
from asynq.worker.processor import Processor
from asynq.worker.settings import ProcessorSettings
from asynq.worker.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Iterator
    from random import Random

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.handlers.runner import Run
    from asynq.protocol.broker import Broker
    from asynq.worker.aggregation import AggregationSettings
    from asynq.worker.settings import WorkerSettings

MAX_RUNS_LOGGED = 10
"""Most runs named where any of them may be the culprit."""
RECOVERY_INTERVAL = 1.0
"""Seconds; with its jitter and the work itself, a lapsed lease is found within 2 s."""
ADOPTION_INTERVAL = 60.0
RECLAIM_INTERVAL = 10.0
HOOK_TIMEOUT = 1.0
"""Seconds a shutdown waits for hooks under way."""
LOOP_STOP_TIMEOUT = 1.0
"""Seconds a shutdown waits for a step of a loop: it waits for nothing but the broker."""
UNREACHABLE_LOOP_STOP_TIMEOUT = 0.1
"""The same where the broker has not answered the processor either."""


class Worker:
    """Works from `run` on until it is shut down. Belongs to one event loop, where it is made."""

    def __init__(self, broker: Broker, step: HandlerAdapter, settings: WorkerSettings, rng: Random) -> None:
        queues = settings.preference.names
        rules = RetryPolicy(rng=rng, delay=settings.retry_delay, is_failure=settings.is_failure)
        self._settings = settings
        self._executors = Executors.of(settings.concurrency)
        self._hooks = Hooks(settings.callbacks)
        self._keeper = LeaseKeeper(broker, settings.lease, rng=rng)
        warning = settings.stall_warning
        self._monitor = LoopMonitor(
            warning=None if warning is None else warning / 1000, culprit=self._culprit
        )
        self._shutdown, self._hurry = asyncio.Event(), asyncio.Event()
        terms = ProcessorSettings(
            preference=settings.preference,
            limits=settings.limits,
            concurrency=settings.concurrency,
            lease=settings.lease,
            rules=rules,
            rng=rng,
            retried=self._on_retry,
        )
        time = BrokerTime(broker.clock)
        self._processor = processor = Processor(
            broker, step, terms, keeper=self._keeper, executors=self._executors, hooks=self._hooks, time=time
        )
        self._wakeups = Wakeups(broker, queues, woken=self._on_wake, cancelled=processor.cancel, rng=rng)
        processor.woken_by(self._wakeups)
        self._forwarder = forwarder = Forwarder(
            broker, queues, forwarded=processor.wake, poll=lambda: self._wakeups.poll, time=time
        )
        recoverer = Recoverer(broker, queues, rules, recovered=self._on_wake, lost=self._hooks.lost)
        self._forwarding = IntervalLoop(
            "forwarding", forwarder.step, interval=POLL_INTERVAL, rng=rng, gap=0.1
        )
        self._aggregator = self._make_aggregator(broker, settings.grouping, rng)
        self._record = ServerRecord(settings.concurrency, settings.preference, time, processor.runs)
        self._heartbeat = Heartbeat(broker, self._record.beat, self._record.end(), time)
        self._beating = IntervalLoop(
            "heartbeat", self._heartbeat.step, interval=SERVER_HEARTBEAT_INTERVAL, rng=rng
        )
        self._loops = [
            self._forwarding,
            IntervalLoop("recovery", recoverer.step, interval=RECOVERY_INTERVAL, rng=rng),
            IntervalLoop("adoption", Adopter(broker, queues).step, interval=ADOPTION_INTERVAL, rng=rng),
            IntervalLoop("cleaning", Janitor(broker, queues).step, interval=janitor.INTERVAL, rng=rng),
        ]
        self._loops += self._optional_loops(broker, rng)

    def _optional_loops(self, broker: Broker, rng: Random) -> Iterator[IntervalLoop]:
        """Loops that run if they are configured and the broker supports their operations."""
        settings, supports = self._settings, broker.capabilities.supports
        queues = settings.preference.names
        if supports(WriteServer, ClearServer):
            yield self._beating
        if supports(ReclaimAggregations):
            step = Reclaimer(broker, queues).step
            yield IntervalLoop("reclaiming", step, interval=RECLAIM_INTERVAL, rng=rng)
        if supports(RepairGroups, ListGroups):
            step = GroupRepairer(broker, queues, attended=self._aggregator is not None).step
            yield IntervalLoop("repairing groups", step, interval=GroupRepairer.CYCLE_INTERVAL, rng=rng)
        if settings.callbacks.health_check:
            checker = HealthChecker(broker, self._hooks.checked, settings.health_check_interval / 1000)
            yield IntervalLoop("health check", checker.step, interval=RECOVERY_INTERVAL, rng=rng)
        if self._aggregator:
            yield IntervalLoop("aggregation", self._aggregator.step, interval=CHECK_INTERVAL, rng=rng)

    def _make_aggregator(
        self, broker: Broker, settings: AggregationSettings | None, rng: Random
    ) -> Aggregator | None:
        if settings is None:
            return None
        return Aggregator(
            broker,
            self._settings.preference.names,
            settings,
            rng=rng,
            aggregated=self._processor.wake,
            report=self._hooks.report,
        )

    @property
    def loop_lag(self) -> float:
        """Seconds by which the event loop is behind; from any thread."""
        return self._monitor.lag

    def stop(self) -> None:
        """Take no more tasks; those in hand go on."""
        self._processor.stop()
        self._record.status = "stopped"
        self._beating.wake()

    def shut_down(self) -> None:
        """Take no more tasks, finish those in hand within the shutdown timeout, and end `run`."""
        self.stop()
        self._shutdown.set()
        self._keeper.hasten()

    def hurry(self) -> None:
        """Wait no longer for handlers: tell them to end now."""
        self._hurry.set()

    async def run(self) -> None:
        """Work until shut down. Ends early only by an error of this library's own, which is raised."""
        self._monitor.start()
        try:
            await self._keeper.start(self._processor.lease_event)
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(loop.run()) for loop in self._loops]
                parts.append(group.create_task(self._wakeups.run()))
                parts.append(group.create_task(self._processor.run()))
                group.create_task(self._end(parts))
        finally:
            if self._aggregator:
                await self._aggregator.aclose()
            await self._processor.aclose()
            await self._hooks.drain(HOOK_TIMEOUT)
            await self._keeper.aclose()
            self._executors.close()
            self._monitor.close()

    async def _end(self, parts: list[asyncio.Task[None]]) -> None:
        await self._shutdown.wait()
        patience = self._settings.shutdown_timeout / 1000
        answered, _ = await asyncio.gather(
            self._processor.drain(patience, self._hurry), self._drain_groups(patience)
        )
        for loop in self._loops:
            loop.stop()
        self._wakeups.stop()
        _, late = await timeouts.wait(parts, LOOP_STOP_TIMEOUT if answered else UNREACHABLE_LOOP_STOP_TIMEOUT)
        for part in late:
            part.cancel()
        if self._beating in self._loops:
            await self._heartbeat.end(answered=not late)

    async def _drain_groups(self, seconds: float) -> None:
        if self._aggregator:
            await self._aggregator.drain(seconds, self._hurry)

    def _culprit(self, task: asyncio.Task[Any] | None) -> str:
        """What the event loop carries out, in words; called while it does."""
        runs = self._processor.runs()
        for run in runs:
            if task is not None and run.owns(task):
                return f"the handler of {_named(run)}"
        named = ", ".join(map(_named, runs[:MAX_RUNS_LOGGED])) or "none"
        what = (
            "no coroutine" if task is None else f"the coroutine {task.get_name()}, which is no handler's own"
        )
        return f"{what}; runs under way: {named}"

    def _on_wake(self, queue: str | None = None) -> None:
        self._processor.wake()
        self._on_retry(queue)

    def _on_retry(self, queue: str | None) -> None:
        self._forwarder.mark(queue)
        self._forwarding.wake()


def _named(run: Run) -> str:
    message = run.delivery.message
    return f"task {message.id!r} ({message.type}) of queue {message.queue!r}"
