"""`ServerLifecycle`: the states of a server from its start to the end of its shutdown."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

from asynq.errors import ServerStateError
from asynq.handlers.mux import ServeMux
from asynq.handlers.resources import Resources
from asynq.monitoring.counters import RunCounters
from asynq.monitoring.counting_recorder import CountingRecorder
from asynq.monitoring.monitor import Monitor
from asynq.monitoring.timed_broker import TimedBroker
from asynq.protocol.broker import require
from asynq.protocol.ops import Ping
from asynq.runtime.error_reporter import Outage, shared_outage
from asynq.runtime.lifecycle import Lifecycle
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import run_in_new_thread
from asynq.worker.aggregation import AGGREGATING
from asynq.worker.first_ping import first_ping
from asynq.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.monitoring.http_listener import MakePage
    from asynq.monitoring.recorder import Recorder
    from asynq.protocol.broker import Broker
    from asynq.runtime.health import Health
    from asynq.worker.companions import Companions
    from asynq.worker.end_conditions import EndReason
    from asynq.worker.settings import WorkerSettings

log = get_logger("asynq.server")


class ServerLifecycle(Lifecycle):
    """The part of `Server` that starts, stops and ends its worker and what runs beside it."""

    _settings: WorkerSettings
    _stop_on_start = False
    """True if SIGTSTP arrived before the server was active."""

    def __init__(self, broker: Broker | str, companions: Companions) -> None:
        super().__init__(broker, log)
        self._companions = companions
        self._check_broker()
        self._worker: Worker | None = None
        self._end_reason: EndReason | None = None
        self._monitor: Monitor | None = None
        self._recorder: Recorder | None = None

    @property
    def end_reason(self) -> EndReason | None:
        """Why the server ended by itself: "idle" after a burst, "limit" after its last task; else None."""
        return self._end_reason

    def stop(self) -> None:
        """Stop taking new tasks. Runs in progress continue. May be called from any thread.

        Raises:
            ServerStateError: the server was never started.
        """
        if self._state == "new":
            raise ServerStateError(self._state, "stop")
        if self._state == "active" and self._worker:
            self._state = "stopped"
            self._call_on_loop(self._worker.stop)
            log.info("stopped taking new tasks")

    @property
    def loop_lag(self) -> timedelta:
        """How long the event loop of this server has been blocked; zero while it is responsive.

        May be read from any thread. It is measured at least twice a second from `start` to the end of the
        shutdown, and is zero at other times.
        """
        return timedelta(seconds=self._worker.loop_lag if self._worker else 0.0)

    async def ping(self) -> None:
        """Check that the broker answers.

        Raises:
            ServerStateError: the server is closed.
            BrokerUnavailable: the broker does not answer. It may raise another AsynqError instead.
        """
        if self._state == "closed":
            raise ServerStateError(self._state, "ping")
        await self._broker.aexecute(Ping())

    def _check_broker(self) -> None:
        """Raise UnsupportedOperationError unless the broker supports what the settings need."""
        if self._settings.grouping is not None:
            require(self._broker, *AGGREGATING)

    async def _start_worker(self, step: HandlerAdapter) -> None:
        """Start everything, in the running event loop. The state must be new. Raises as `Server.start`."""
        options = self._settings.monitoring
        counters = None if options.metrics_port is None else RunCounters()
        page = None if counters is None else self._metrics_page(counters)
        self._recorder = options.recorder(*(() if counters is None else (CountingRecorder(counters),)))
        self._monitor = Monitor(options, self._observed, page)
        self._monitor.start()
        try:
            await self._start_rest(step)
        except BaseException:
            await self._stop_monitor()
            raise

    def _metrics_page(self, counters: RunCounters) -> MakePage:
        """The page for Prometheus."""
        raise NotImplementedError

    def _observed(self, *, broker: bool) -> Health:
        return self.health_from_thread(broker=broker, max_loop_lag=self._settings.monitoring.longest_lag)

    async def _stop_monitor(self) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor and monitor.active:
            await run_in_new_thread(monitor.close)

    async def _start_rest(self, step: HandlerAdapter) -> None:
        outage = await first_ping(self._broker)
        self._check_new()
        broker = self._broker if self._recorder is None else TimedBroker(self._broker, self._recorder)
        resources = Resources(broker, await self._start_companions())
        self._state = "active"
        rng = Random()  # noqa: S311 - jitter and draws
        self._worker = Worker(resources, step, self._settings, rng, on_end=self._end, recorder=self._recorder)
        self._start_main(self._work(self._worker, resources, outage or Outage(log, reached=True)))
        preference = self._settings.preference
        queues = ", ".join((*preference.names, *preference.patterns))
        log.info("%s queues %s on %r", "waiting to serve" if outage else "serving", queues, self._broker)
        _log_patterns(step)
        if self._stop_on_start:
            self.stop()

    @property
    def _drain_timeout(self) -> float:
        return self._settings.shutdown_timeout / 1000

    def _begin_shutdown(self) -> None:
        if self._worker and self._state != "closed":
            self._state = "stopped"
            self._worker.shut_down()
            self._companions.begin_shutdown()

    def _end(self, reason: EndReason) -> None:
        """Shut down when the current runs have ended, because a condition for the end is met."""

        def end() -> None:
            self._end_reason = reason
            self._begin_shutdown()

        if self._worker and self._state != "closed":
            self._state = "stopped"
            self._worker.finish(end)

    async def _start_companions(self) -> Any:
        """Start what runs beside the worker. Returns the lifespan's state. After an error this is closed."""
        try:
            state = await self._companions.start()
            self._check_new()
        except BaseException:
            try:
                await self._companions.end()
            finally:
                await self.shutdown()
            raise
        return state

    async def _work(self, worker: Worker, resources: Resources, outage: Outage) -> None:
        shared_outage.set(outage)
        try:
            await worker.run()
            await resources.aclose()
        finally:
            try:
                await self._companions.end()
            finally:
                await self._stop_monitor()

    def _force_shutdown(self) -> None:
        if self._worker:
            self._worker.force_shutdown()
        self._companions.force_shutdown()

    @property
    def _on_sigtstp(self) -> Callable[[], None]:
        def stop() -> None:
            if self._state == "active":
                self.stop()
            self._stop_on_start = self._state == "new"

        return stop


def _log_patterns(step: HandlerAdapter) -> None:
    """Log what a mux handles, to compare it with the types of the tasks."""
    if isinstance(step, ServeMux):
        if step.patterns:
            log.debug("handlers: %s", ", ".join(map(repr, step.patterns)))
        else:
            log.warning("the mux has no handlers, so every task fails: import the modules that register them")
