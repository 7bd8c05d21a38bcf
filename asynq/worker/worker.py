"""Worker: wires the processor, the background loops and the lease keeper of a server, and shuts them down."""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from asynq.handlers.executors import Executors
from asynq.handlers.hooks import Hooks
from asynq.handlers.runner import Runner
from asynq.protocol.broker import Wake
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import (
    AdvanceSequences,
    ClearServer,
    FinishParent,
    ListGroups,
    ListServers,
    ReclaimAggregations,
    RepairGroups,
    TakeParents,
    WriteServer,
)
from asynq.runtime import timeouts
from asynq.runtime.heartbeat import Heartbeat
from asynq.runtime.interval_loop import FALLBACK_POLL_INTERVAL, LIVE_POLL_INTERVAL, IntervalLoop
from asynq.runtime.loop_monitor import LoopMonitor
from asynq.runtime.process_limits import NO_LIMITS
from asynq.worker.leases.keeper import LeaseKeeper
from asynq.worker.loops import followers, janitor, sequences
from asynq.worker.loops.aggregator import CHECK_INTERVAL, Aggregator
from asynq.worker.loops.burst import Burst
from asynq.worker.loops.followers import FollowerDelivery
from asynq.worker.loops.forwarder import Forwarder
from asynq.worker.loops.health_checker import HealthChecker
from asynq.worker.loops.idle_reasons import IdleReasons
from asynq.worker.loops.janitor import Janitor
from asynq.worker.loops.queue_follower import QueueFollower
from asynq.worker.loops.reclaimer import GroupRepairer, Reclaimer
from asynq.worker.loops.recoverer import Adopter, Recoverer
from asynq.worker.loops.recycling import Recycling
from asynq.worker.loops.sequences import SequenceAdvancer
from asynq.worker.loops.server_record import SERVER_HEARTBEAT_INTERVAL, ServerRecord
from asynq.worker.loops.unserved_queues import UnservedQueues
from asynq.worker.processor import Processor
from asynq.worker.served_queues import ServedQueues
from asynq.worker.settings import ProcessorSettings
from asynq.worker.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from random import Random

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.handlers.resources import Resources
    from asynq.handlers.retry import RetryPolicy
    from asynq.handlers.run import Run
    from asynq.monitoring.recorder import Recorder
    from asynq.protocol.broker import Broker
    from asynq.worker.aggregation import AggregationSettings
    from asynq.worker.end_conditions import EndReason
    from asynq.worker.settings import WorkerSettings

MAX_RUNS_LOGGED = 10
"""Maximum number of runs listed in a stall warning."""
RECOVERY_INTERVAL = 1.0
"""Seconds. An expired lease is found within 2 s, including the work itself."""
ADOPTION_INTERVAL = 60.0
RECLAIM_INTERVAL = 30.0
HOOK_TIMEOUT = 1.0
"""Seconds a shutdown waits for running hooks."""
LOOP_STOP_TIMEOUT = 1.0
"""Seconds a shutdown waits for the current steps of the loops, which only wait for the broker."""
UNREACHABLE_LOOP_STOP_TIMEOUT = 0.1
"""The same, if the broker did not answer the processor either."""


class Worker:
    """Runs a server's work from `run` to its shutdown. Belongs to the event loop in which it is created."""

    _follower_loop: IntervalLoop | None = None
    """None if the broker has no followers."""

    def __init__(
        self,
        resources: Resources,
        step: HandlerAdapter,
        settings: WorkerSettings,
        rng: Random,
        on_end: Callable[[EndReason], None],
        *,
        recorder: Recorder | None = None,
    ) -> None:
        broker = resources.broker
        self._queues = queues = ServedQueues(settings.preference, settings.limits)
        rules = settings.retry_policy(rng, step)
        self._settings = settings
        self._executors = Executors.of(settings.concurrency, settings.children)
        self._recorder = recorder
        self._hooks = Hooks(settings.callbacks, recorder)
        self._keeper = LeaseKeeper(broker, settings.lease, rng=rng)
        warning = settings.stall_warning
        self._monitor = LoopMonitor(
            warning=None if warning is None else warning / 1000, describe=self._running_task
        )
        self._shutdown, self._forced = asyncio.Event(), asyncio.Event()
        self._finished: asyncio.Future[Callable[[], None]] = asyncio.get_running_loop().create_future()
        time = BrokerTime(broker.clock)
        self._processor = processor = Processor(
            broker,
            self._processor_settings(rules, rng),
            runner=partial(Runner, step, broker=broker, executors=self._executors, resources=resources),
            keeper=self._keeper,
            hooks=self._hooks,
            time=time,
        )
        self._wakeups = self._make_wakeups(broker, rng)
        processor.use_wakeups(self._wakeups)
        self._forwarder = forwarder = Forwarder(
            broker, queues, on_forwarded=processor.wake, poll=lambda: self._wakeups.poll, time=time
        )
        self._recoverer = recoverer = self._make_recoverer(broker, rules, time, rng)
        self._forward_loop = IntervalLoop(
            "forwarding", forwarder.step, interval=FALLBACK_POLL_INTERVAL, rng=rng, gap=0.1
        )
        self._recovery_loop = IntervalLoop(
            "recovery", recoverer.step, interval=RECOVERY_INTERVAL, rng=rng, gap=RECOVERY_INTERVAL
        )
        adopter = Adopter(broker, queues, self._on_lease)
        self._followers = FollowerDelivery(broker, queues, time)
        self._aggregator = self._make_aggregator(broker, settings.grouping, rng)
        self._record = ServerRecord(settings.concurrency, queues, time, processor.runs)
        self._heartbeat = Heartbeat(broker, self._record.beat, self._record.end(), time)
        self._heartbeat_loop = IntervalLoop(
            "heartbeat", self._heartbeat.step, interval=SERVER_HEARTBEAT_INTERVAL, rng=rng
        )
        self._loops = [
            self._forward_loop,
            self._recovery_loop,
            IntervalLoop("adoption", adopter.step, interval=ADOPTION_INTERVAL, rng=rng),
            IntervalLoop("cleaning", Janitor(broker, queues).step, interval=janitor.INTERVAL, rng=rng),
        ]
        self._loops += [*self._optional_loops(broker, rng), *self._end_loops(broker, rng, time, on_end)]

    def _processor_settings(self, rules: RetryPolicy, rng: Random) -> ProcessorSettings:
        settings = self._settings
        return ProcessorSettings(
            queues=self._queues,
            concurrency=settings.concurrency,
            lease=settings.lease,
            rules=rules,
            rng=rng,
            retried=self._on_retry,
            parent_completed=self._on_parent,
            since=self._recorder is not None,
            max_tasks=settings.ends.limits.max_tasks or sys.maxsize,
        )

    def _make_wakeups(self, broker: Broker, rng: Random) -> Wakeups:
        return Wakeups(
            broker,
            self._queues,
            on_wake=self._on_wake,
            on_cancel=self._processor.cancel,
            rng=rng,
            # Nobody tells that a run of another server has ended, so that a shared limit admits a task.
            longest_poll=FALLBACK_POLL_INTERVAL if self._settings.limits.shared else LIVE_POLL_INTERVAL,
        )

    def _make_recoverer(self, broker: Broker, rules: RetryPolicy, time: BrokerTime, rng: Random) -> Recoverer:
        return Recoverer(
            broker,
            self._queues,
            rules,
            interval=lambda: LIVE_POLL_INTERVAL if self._wakeups.live else RECOVERY_INTERVAL,
            time=time,
            rng=rng,
            on_recovered=lambda queue: self._on_wake(Wake(queue)),
            on_lost=self._hooks.lost,
        )

    def _optional_loops(self, broker: Broker, rng: Random) -> Iterator[IntervalLoop]:
        """Loops that run if they are configured and the broker supports their operations."""
        settings, supports = self._settings, broker.capabilities.supports
        queues = self._queues
        if settings.preference.patterns:
            step = QueueFollower(broker, queues, self._on_queues).step
            yield IntervalLoop("following queues", step, interval=RECOVERY_INTERVAL, rng=rng)
        if supports(WriteServer, ClearServer):
            yield self._heartbeat_loop
        if supports(ReclaimAggregations):
            step = Reclaimer(broker, queues).step
            yield IntervalLoop("reclaiming", step, interval=RECLAIM_INTERVAL, rng=rng)
        if supports(RepairGroups, ListGroups):
            step = GroupRepairer(broker, queues, aggregates=self._aggregator is not None).step
            yield IntervalLoop("repairing groups", step, interval=GroupRepairer.CYCLE_INTERVAL, rng=rng)
        if supports(ListServers):
            step = UnservedQueues(broker, queues.would_serve).step
            yield IntervalLoop("looking for unserved queues", step, interval=RECOVERY_INTERVAL, rng=rng)
        reasons = IdleReasons(
            broker,
            settings.concurrency,
            queues,
            runs=self._processor.runs,
            stopped=lambda: self._record.status == "stopped",
        )
        yield IntervalLoop("idle reasons", reasons.step, interval=RECOVERY_INTERVAL, rng=rng)
        if supports(TakeParents, FinishParent):
            step = self._followers.step
            self._follower_loop = IntervalLoop("followers", step, interval=followers.INTERVAL, rng=rng)
            yield self._follower_loop
        if supports(AdvanceSequences):
            step = SequenceAdvancer(broker, queues).step
            yield IntervalLoop("sequences", step, interval=sequences.INTERVAL, rng=rng)
        if settings.callbacks.health_check:
            checker = HealthChecker(broker, self._hooks.checked, settings.health_check_interval / 1000)
            yield IntervalLoop("health check", checker.step, interval=RECOVERY_INTERVAL, rng=rng)
        if self._aggregator:
            yield IntervalLoop("aggregation", self._aggregator.step, interval=CHECK_INTERVAL, rng=rng)

    def _end_loops(
        self, broker: Broker, rng: Random, time: BrokerTime, on_end: Callable[[EndReason], None]
    ) -> Iterator[IntervalLoop]:
        """Loops that end the server by itself, if it is to."""
        ends = self._settings.ends
        if ends.burst:
            burst = Burst(
                broker,
                self._queues,
                runs=self._processor.runs,
                time=time,
                aggregates=self._aggregator is not None,
                finish=lambda: on_end("idle"),
            )
            yield IntervalLoop("burst", burst.step, interval=RECOVERY_INTERVAL, rng=rng)
        if ends.limits != NO_LIMITS:
            most = ends.limits.max_tasks or sys.maxsize
            recycling = Recycling(
                limits=ends.limits,
                runs=lambda: most - self._processor.left,
                finish=lambda: on_end("limit"),
            )
            yield IntervalLoop("recycling", recycling.step, interval=RECOVERY_INTERVAL, rng=rng)

    def _make_aggregator(
        self, broker: Broker, settings: AggregationSettings | None, rng: Random
    ) -> Aggregator | None:
        if settings is None:
            return None
        return Aggregator(
            broker,
            self._queues,
            settings,
            rng=rng,
            on_aggregated=self._processor.wake,
            report=self._hooks.report,
        )

    @property
    def loop_lag(self) -> float:
        """The lag of the event loop in seconds. From any thread."""
        return self._monitor.lag

    def stop(self) -> None:
        """Stop taking new tasks. Runs in progress continue."""
        self._processor.stop()
        self._record.status = "stopped"
        self._heartbeat_loop.wake()

    def finish(self, then: Callable[[], None]) -> None:
        """Stop taking new tasks, let runs end by themselves, and then call `then`, unless shut down before.

        No timeout but their own ends the runs.
        """
        self.stop()
        if not self._finished.done():
            self._finished.set_result(then)

    def shut_down(self) -> None:
        """Stop taking new tasks, let runs finish within the shutdown timeout, and end `run`."""
        self.stop()
        self._shutdown.set()
        self._keeper.stop_waiting()

    def force_shutdown(self) -> None:
        """Stop waiting for handlers and cancel them now."""
        self._forced.set()

    async def run(self) -> None:
        """Work until shut down. Only an internal error ends it earlier; the error is raised."""
        self._monitor.start()
        if self._recorder:
            self._recorder.server_started(self._settings.concurrency)
        try:
            await self._keeper.start(self._processor.lease_event)
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(loop.run()) for loop in self._loops]
                parts.append(group.create_task(self._wakeups.run()))
                parts += [group.create_task(self._processor.run()) for _ in range(self._processor.exchanges)]
                finishing = group.create_task(self._run_finish())
                group.create_task(self._run_shutdown(parts, finishing))
        finally:
            if self._aggregator:
                await self._aggregator.aclose()
            await self._processor.aclose()
            await self._hooks.drain(HOOK_TIMEOUT)
            await self._keeper.aclose()
            self._executors.close()
            self._monitor.close()
            if self._recorder:
                self._recorder.server_ended()

    async def _run_finish(self) -> None:
        then = await self._finished
        await self._processor.wait_drained()
        if self._aggregator:
            await self._aggregator.finish()
        then()

    async def _run_shutdown(self, parts: list[asyncio.Task[None]], finishing: asyncio.Task[None]) -> None:
        await self._shutdown.wait()
        finishing.cancel()
        seconds = self._settings.shutdown_timeout / 1000
        answered, _ = await asyncio.gather(
            self._processor.drain(seconds, self._forced), self._drain_groups(seconds)
        )
        for loop in self._loops:
            loop.stop()
        self._wakeups.stop()
        _, late = await timeouts.wait(parts, LOOP_STOP_TIMEOUT if answered else UNREACHABLE_LOOP_STOP_TIMEOUT)
        for part in late:
            part.cancel()
        if self._heartbeat_loop in self._loops:
            await self._heartbeat.end(answered=not late)

    async def _drain_groups(self, seconds: float) -> None:
        if self._aggregator:
            await self._aggregator.drain(seconds, self._forced)

    def _running_task(self, task: asyncio.Task[Any] | None) -> str:
        """Describe what the event loop is running. Called on another thread."""
        runs = self._processor.runs()
        for run in runs:
            if task is not None and run.owns(task):
                return f"the handler of {_describe(run)}"
        named = ", ".join(map(_describe, runs[:MAX_RUNS_LOGGED])) or "none"
        what = "no coroutine" if task is None else f"the coroutine {task.get_name()}, which is not a handler"
        return f"{what}; current runs: {named}"

    def _on_queues(self, new: Iterable[str]) -> None:
        """The patterns stand for other queues than before. What a new one contains may be due at once."""
        self._processor.queues_changed()
        self._wakeups.queues_changed()
        for queue in new:
            self._on_wake(Wake(queue))
            self._on_parent(queue)

    def _on_wake(self, wake: Wake) -> None:
        if wake.tasks != "scheduled":
            self._processor.wake(wake.queue)
            self._on_lease(wake.queue)
        if wake.tasks != "pending":
            self._on_retry(wake.queue)

    def _on_lease(self, queue: str | None) -> None:
        """Leases may have been created: a queue that changes may be one from which a worker took a task."""
        self._recoverer.mark(queue)
        self._recovery_loop.wake()

    def _on_parent(self, queue: str) -> None:
        self._followers.mark(queue)
        if self._follower_loop is not None:
            self._follower_loop.wake()

    def _on_retry(self, queue: str | None) -> None:
        self._forwarder.mark(queue)
        self._forward_loop.wake()


def _describe(run: Run) -> str:
    message = run.delivery.message
    return f"task {message.id!r} ({message.type}) of queue {message.queue!r}"
