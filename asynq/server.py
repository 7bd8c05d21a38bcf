"""Server: takes tasks from queues and runs their handlers."""

from __future__ import annotations

import os
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING

from asynq.checks import check_callback, check_count, check_duration
from asynq.errors import BrokerUnavailable, ServerStateError
from asynq.handlers.adapters import adapt_handler
from asynq.handlers.hooks import Callbacks
from asynq.handlers.processes.main_module import importing
from asynq.protocol.broker import require
from asynq.protocol.ops import Ping
from asynq.runtime import timeouts
from asynq.runtime.backoff import Outage, shared_outage
from asynq.runtime.blocking_run import run_blocking
from asynq.runtime.lifecycle import Lifecycle
from asynq.runtime.logs import get_logger
from asynq.worker.aggregation import AGGREGATING, AggregationSettings
from asynq.worker.queue_selection import QueueLimits, QueuePriority
from asynq.worker.settings import WorkerSettings
from asynq.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.handlers.adapters import Handler
    from asynq.handlers.hooks import HealthCheck, OnError, OnRun
    from asynq.handlers.retry import IsFailure, RetryDelay
    from asynq.protocol.broker import Broker
    from asynq.worker.aggregation import Aggregate

log = get_logger("asynq.server")

_SECOND = timedelta(seconds=1)
FIRST_PING_TIMEOUT = 2.0
"""Seconds a start waits for the broker's first answer."""
_MILLISECOND = timedelta(milliseconds=1)


class Server(Lifecycle):
    """Takes tasks from queues and runs up to `concurrency` of their handlers at once.

    A server lives once: new, then active, stopped (takes no more tasks, finishes those in hand), closed;
    ServerStateError when asked for what its state does not allow. A broker that goes away is waited for: work
    goes on by itself when it is back. A broker given by URL belongs to the server, which closes it.

    Nothing is connected yet. ValueError or TypeError, naming the option, for what cannot be honoured.

    concurrency: runs at once; the number of processors by default.
    queues: names with their weights, or names of equal weight. A queue is the first choice as often as
    its weight says; with `strict_priority` it waits until all heavier ones are empty.
    queue_limits: most runs at once of tasks of a queue, in this server. shared_queue_limits: the same for all
    servers together, and Go peers; each server keeps to what it was given, so give all of them the same.
    retry_delay: from (retried, error, task), how long a failed task waits: a timedelta or seconds; Go
    asynq's delay by default. is_failure: False for errors that spend no retry and count as no failure.
    Where either raises or answers nonsense, its default is used.
    on_error: told of each failure with (error, task, ctx), sync (then it must not block) or async; ctx is
    None for a task whose worker was lost. What it raises is logged, as with all that follow.
    on_start: told with (task, ctx) when a run begins. on_success, with (task, ctx), on_failure, on_retry and
    on_archive, with (error, task, ctx): told once the broker has recorded it. on_failure of what the queue
    counts as failed, on_retry and on_archive of where the task goes then.
    health_check: told at the start and every `health_check_interval` how the broker answers, None or its
    error.
    shutdown_timeout: how long a shutdown lets handlers finish; then they are told to end and have one second
    to do so, and their tasks go back to the head of their queues without a retry spent.
    lease: how long a silent worker keeps its tasks; at least one second, and extended while it lives.
    stall_warning: how long the event loop may be blocked, by a handler that does not await, until that is
    logged with the task and the stack; None for never. At least one millisecond.
    aggregator: from a group's name and tasks to the one task that takes their place in their queue; sync
    (in a thread) or async. What it raises puts the tasks back into their group, and on_error is told.
    Without it groups wait for another server; UnsupportedOperationError for a broker without groups.
    group_grace_period: how long nothing is added to a group until it is aggregated; group_max_delay: how
    long its oldest task waits at most; both at least one second. group_max_size: as soon as a group holds
    so many tasks, that many are aggregated.
    """

    _stops_at_once = False
    """Whether a signal asked for no tasks before there could be any."""

    def __init__(
        self,
        broker: Broker | str,
        *,
        concurrency: int | None = None,
        queues: Mapping[str, int] | Sequence[str] = ("default",),
        strict_priority: bool = False,
        queue_limits: Mapping[str, int] | None = None,
        shared_queue_limits: Mapping[str, int] | None = None,
        retry_delay: RetryDelay | None = None,
        is_failure: IsFailure | None = None,
        on_error: OnError | None = None,
        on_start: OnRun | None = None,
        on_success: OnRun | None = None,
        on_failure: OnError | None = None,
        on_retry: OnError | None = None,
        on_archive: OnError | None = None,
        health_check: HealthCheck | None = None,
        health_check_interval: timedelta = timedelta(seconds=15),
        shutdown_timeout: timedelta = timedelta(seconds=8),
        lease: timedelta = timedelta(seconds=30),
        stall_warning: timedelta | None = timedelta(seconds=1),
        aggregator: Aggregate | None = None,
        group_grace_period: timedelta = timedelta(minutes=1),
        group_max_delay: timedelta | None = None,
        group_max_size: int | None = None,
    ) -> None:
        check_duration("shutdown_timeout", shutdown_timeout)
        check_callback("retry_delay", retry_delay, takes="(retried, error, task)", at_once=True)
        check_callback("is_failure", is_failure, takes="(error)", at_once=True)
        _check_seconds(lease=lease, health_check_interval=health_check_interval)
        check_callback("aggregator", aggregator, takes="(group, tasks)")
        preference = QueuePriority.of(queues, strict=strict_priority)
        self._settings = WorkerSettings(
            concurrency=_concurrency(concurrency),
            preference=preference,
            limits=QueueLimits.of(queue_limits, shared_queue_limits, preference.names),
            retry_delay=retry_delay,
            is_failure=is_failure,
            callbacks=Callbacks(
                on_error=on_error,
                on_start=on_start,
                on_success=on_success,
                on_failure=on_failure,
                on_retry=on_retry,
                on_archive=on_archive,
                health_check=health_check,
            ),
            health_check_interval=health_check_interval // _MILLISECOND,
            shutdown_timeout=shutdown_timeout // _MILLISECOND,
            lease=lease // _MILLISECOND,
            stall_warning=_stall_warning(stall_warning),
            grouping=AggregationSettings.of(aggregator, group_grace_period, group_max_delay, group_max_size),
        )
        super().__init__(broker, log)
        if aggregator is not None:
            require(self._broker, *AGGREGATING)
        self._worker: Worker | None = None

    def run(self, handler: Handler) -> None:
        """Work until told to end by a signal; blocks. Uses uvloop where it is installed.

        SIGTERM and SIGINT shut down. Another one, at least one second after the first, waits no longer for
        handlers; where one blocks the event loop, the process then exits with status 1 within two seconds.
        Signals within that first second are the same request. SIGTSTP stops taking tasks. A signal that comes
        before the server has started ends `run` at once.
        Raises as `start` does; RuntimeError inside a running event loop, where `serve` is to be awaited.
        """
        run_blocking(lambda: self._until_signalled(self.start(handler)), "await serve(handler)")

    async def serve(self, handler: Handler) -> None:
        """Work until shut down. Raises as `start` does.

        Cancelling it shuts down first; cancelled again, at least one second later, it waits no longer for
        handlers.
        """
        await self._serve(self.start(handler))

    async def start(self, handler: Handler) -> None:
        """Begin to work in the running event loop, and return.

        `handler` is a ServeMux or any handler. TypeError for what cannot be one; BrokerRefusedError when the
        broker answers and refuses; a broker that does not answer yet is waited for in the background.
        """
        if self._state != "new":
            raise ServerStateError(self._state, "start")
        if importing.get():
            raise RuntimeError(
                "a server is started by a module that a handler process imports: "
                'start it under `if __name__ == "__main__":`'
            )
        step = adapt_handler(handler)
        outage = await self._greet()
        if self.state != "new":
            raise ServerStateError(self._state, "start")
        self._state = "active"
        self._worker = Worker(self._broker, step, self._settings, Random())  # noqa: S311 - jitter and draws
        self._begin(self._work(self._worker, outage or Outage(log, reached=True)))
        queues = ", ".join(self._settings.preference.names)
        log.info("%s on queues %s of %r", "waiting to work" if outage else "working", queues, self._broker)
        if self._stops_at_once:
            self.stop()

    def stop(self) -> None:
        """Take no more tasks; those in hand go on. From any thread.

        ServerStateError for a server that was never started.
        """
        if self._state == "new":
            raise ServerStateError(self._state, "stop")
        if self._state == "active" and self._worker:
            self._state = "stopped"
            self._on_its_loop(self._worker.stop)
            log.info("taking no more tasks")

    @property
    def loop_lag(self) -> timedelta:
        """How far the event loop of this server is behind, zero unless something blocks it; from any thread.

        It is measured at least twice a second from `start` to the end of the shutdown, and zero otherwise.
        """
        return timedelta(seconds=self._worker.loop_lag if self._worker else 0.0)

    async def ping(self) -> None:
        """Ask the broker for a sign of life: BrokerUnavailable or another of its errors if there is none."""
        if self._state == "closed":
            raise ServerStateError(self._state, "ping")
        await self._broker.aexecute(Ping())

    # --- the rest is its own ------------------------------------------------------------------------

    @property
    def _patience(self) -> float:
        return self._settings.shutdown_timeout / 1000

    def _begin_shutdown(self) -> None:
        if self._worker and self._state != "closed":
            self._state = "stopped"
            self._worker.shut_down()

    async def _greet(self) -> Outage | None:
        """The outage that is told of if the broker does not answer."""
        try:
            async with timeouts.timeout(FIRST_PING_TIMEOUT):
                await self.ping()
        except TimeoutError:
            log.warning(
                "the broker does not answer yet and is waited for: no answer within %g s", FIRST_PING_TIMEOUT
            )
            return Outage(log, told=True, why=False)
        except BrokerUnavailable as error:
            log.warning("the broker does not answer yet and is waited for: %s", error.reason)
            return Outage(log, told=True)
        return None

    async def _work(self, worker: Worker, outage: Outage) -> None:
        shared_outage.set(outage)
        await worker.run()

    def _hurry(self) -> None:
        if self._worker:
            self._worker.hurry()

    @property
    def _quiet(self) -> Callable[[], None]:
        def quiet() -> None:
            if self._state == "active":
                self.stop()
            self._stops_at_once = self._state == "new"

        return quiet


def _concurrency(given: int | None) -> int:
    if given is None:
        return os.cpu_count() or 1
    check_count("concurrency", given)
    if given < 1:
        raise ValueError(f"concurrency must be at least 1; it is {given}")
    return given


def _stall_warning(value: timedelta | None) -> int | None:
    if value is None:
        return None
    check_duration("stall_warning", value)
    if value < _MILLISECOND:
        raise ValueError(f"stall_warning must be at least one millisecond; it is {value}")
    return value // _MILLISECOND


def _check_seconds(**options: timedelta) -> None:
    for name, value in options.items():
        check_duration(name, value)
        if value < _SECOND:
            raise ValueError(f"{name} must be at least one second; it is {value}")
