"""Server: its options, and the ways to run it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from asynq.checks import check_callback
from asynq.errors import ServerStateError
from asynq.handlers.adapters import adapt_handler
from asynq.handlers.hooks import Callbacks
from asynq.handlers.processes.main_module import importing
from asynq.handlers.retry_delays import check_retry_delay
from asynq.runtime.blocking_run import run_blocking
from asynq.scheduler.group import SchedulerGroup
from asynq.worker.aggregation import AggregationSettings
from asynq.worker.companions import Companions
from asynq.worker.end_conditions import EndConditions, child_limits_of
from asynq.worker.lifespan import Lifespan, check_lifespan
from asynq.worker.options import (
    Overrides,
    concurrency_of,
    monitoring_of,
    overridden,
    seconds_of,
    shutdown_timeout_of,
    stall_warning_of,
)
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.server_lifecycle import ServerLifecycle
from asynq.worker.settings import WorkerSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from asynq.handlers.adapters import Handler, HandlerAdapter
    from asynq.handlers.hooks import HealthCheck, OnError, OnRun
    from asynq.handlers.retry import IsFailure
    from asynq.handlers.retry_delays import RetryDelay
    from asynq.monitoring.counters import RunCounters
    from asynq.monitoring.http_listener import MakePage
    from asynq.monitoring.options import Monitoring
    from asynq.protocol.broker import Broker
    from asynq.scheduler.base_scheduler import BaseScheduler
    from asynq.worker.aggregation import Aggregate

ServerLifespan: TypeAlias = "Callable[[Server], AbstractAsyncContextManager[Any]]"
"""Returns the context manager that surrounds the work of the server."""


class Server(ServerLifecycle):
    """Takes tasks from queues and runs their handlers, up to `concurrency` at the same time.

    The states of a server are new, active, stopped (it finishes the tasks in hand but takes no new ones) and
    closed. It cannot be restarted. A method that the current state does not allow raises ServerStateError.
    The constructor does not connect. While the broker is unreachable, the server retries and resumes work by
    itself. A server that was given a URL owns its broker and closes it.

    Hooks may be sync or async. A sync hook runs on the event loop and must not block it. Errors that hooks
    raise are logged.

    Args:
        broker: a broker, or the URL of one.
        handler: a ServeMux or any other handler, as the command `asynq worker` needs it. None: it is passed
            to `run`, `serve` or `start`.
        concurrency: maximum number of runs at the same time; by default the number of CPUs.
        queues: the queues to serve: names with their weights, or names of equal weight. The higher the weight
            of a queue, the more often it is tried first. A name with `*`, which stands for any text, is a
            pattern: the server follows the queues that match as they come and go.
        strict_priority: serve a queue only while all queues of higher weight are empty or paused.
        queue_limits: maximum number of concurrent runs per queue in this server.
        shared_queue_limits: maximum number of concurrent runs per queue in all servers together, servers in
            Go included. Each server applies its own setting: configure the same limits on all of them.
        retry_delay: the delay before a failed task runs again, unless its handler declares one: a timedelta,
            a Backoff, or a function `retry_delay(retried, error, task)` that returns a timedelta or seconds.
            By default the delay of Go's asynq, which is also used if the function raises or returns an
            invalid value.
        is_failure: `is_failure(error)` returns false for errors that count neither as a retry nor as
            failures; by default, and if it raises, every error is a failure.
        on_error: `on_error(error, task, ctx)` is called when a run or an aggregation fails, or a worker is
            lost; without a run `ctx` is None.
        on_start: `on_start(task, ctx)` is called when a run starts.
        on_success: `on_success(task, ctx)` is called when the broker has recorded a success.
        on_failure: `on_failure(error, task, ctx)` is called when the broker has recorded a failure.
        on_retry: `on_retry(error, task, ctx)` is called when the broker has recorded a retry.
        on_archive: `on_archive(error, task, ctx)` is called when the broker has archived the task.
        health_check: `health_check(error)` is called at startup and then every `health_check_interval`, with
            None if the broker answers, and with the error if it does not.
        health_check_interval: time between two health checks, at least one second.
        shutdown_timeout: how long a shutdown lets handlers finish. It then cancels them, gives them one
            second to end, and returns their tasks to the head of their queues. That counts as no retry.
        lease: how long a task stays assigned to a worker that no longer responds, at least one second. The
            worker extends the lease while it runs the task.
        stall_warning: log a warning with the task and the stack if the event loop is blocked for this long,
            at least one millisecond; None disables the warning.
        aggregator: `aggregator(group, tasks)` returns the task that replaces the tasks of a group in their
            queue. It may be async; a sync aggregator runs in a thread. If it raises, the tasks return to
            their group and `on_error` is called. None: this server does not aggregate.
        lifespan: `lifespan(server)` returns an async context manager, usually from a function decorated with
            @contextlib.asynccontextmanager. It is entered before the first task is taken, and left after the
            last handler has ended. Handlers get the value that it yields as `ctx.state`. An error on entry is
            raised by `start`, one on exit when the server is closed.
        scheduler: a Scheduler or PeriodicTaskManager, or several, that starts and ends with the server. Any
            number of servers may have the same one: each tick is enqueued once. It has a broker of its own.
        group_grace_period: aggregate a group when no task was added for this time, at least one second.
        group_max_delay: aggregate a group when its oldest task has waited this long, at least one second;
            None disables this.
        group_max_size: aggregate a group as soon as it holds this many tasks, and at most this many at once;
            None disables this.
        burst: shut down when no task is pending or due in the queues. Tasks that are due later are left.
        max_tasks: end after this many runs, so that another process can take over. Each start of a task
            counts. The last runs end by themselves; `shutdown_timeout` does not apply to them.
        max_memory: end when the process uses this many bytes, in the same way. Checked twice a second.
        max_tasks_per_child: replace a process with handlers (`executor="process"`) after this many runs.
        max_memory_per_child: replace such a process when it uses this many bytes at the end of a run.
        monitoring: what the server shows of itself while it runs, such as health checks over HTTP.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
        BrokerURLError: the URL is malformed, or no backend is registered for its scheme.
        UnsupportedOperationError: `aggregator` is set and the broker does not support groups.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        handler: Handler | None = None,
        concurrency: int | None = None,
        queues: Mapping[str, int] | Sequence[str] = ("default",),
        strict_priority: bool = False,
        queue_limits: Mapping[str, int] | None = None,
        shared_queue_limits: Mapping[str, int] | None = None,
        retry_delay: RetryDelay | timedelta | None = None,
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
        lifespan: ServerLifespan | None = None,
        scheduler: BaseScheduler | Sequence[BaseScheduler] | None = None,
        aggregator: Aggregate | None = None,
        group_grace_period: timedelta = timedelta(minutes=1),
        group_max_delay: timedelta | None = None,
        group_max_size: int | None = None,
        burst: bool = False,
        max_tasks: int | None = None,
        max_memory: int | None = None,
        max_tasks_per_child: int | None = None,
        max_memory_per_child: int | None = None,
        monitoring: Monitoring | None = None,
    ) -> None:
        self._handler = _checked(handler, retry_delay, is_failure, aggregator)
        preference = QueuePriority.of(queues, strict=strict_priority)
        self._settings = WorkerSettings(
            concurrency=concurrency_of(concurrency),
            preference=preference,
            limits=QueueLimits.of(queue_limits, shared_queue_limits, preference),
            retry_delay=retry_delay,
            is_failure=is_failure,
            callbacks=Callbacks(
                on_error, on_start, on_success, on_failure, on_retry, on_archive, health_check
            ),
            health_check_interval=seconds_of("health_check_interval", health_check_interval),
            shutdown_timeout=shutdown_timeout_of(shutdown_timeout),
            lease=seconds_of("lease", lease),
            stall_warning=stall_warning_of(stall_warning),
            grouping=AggregationSettings.of(aggregator, group_grace_period, group_max_delay, group_max_size),
            ends=EndConditions.of(burst=burst, max_tasks=max_tasks, max_memory=max_memory),
            children=child_limits_of(max_tasks_per_child, max_memory_per_child),
            monitoring=monitoring_of(monitoring),
        )
        super().__init__(broker, Companions(self._lifespan(lifespan), SchedulerGroup.of(scheduler)))

    def override(self, broker: Broker | str | None = None, **options: Unpack[Overrides]) -> None:
        """Replace options before the start, as `asynq worker` does with those of its command line.

        If other queues are served then, the limits of the queues that no longer are have no effect.

        Args:
            broker: a broker, or the URL of one. None: the broker stays.
            **options: concurrency, queues, strict_priority, queue_limits, shared_queue_limits,
                shutdown_timeout, lease, burst, max_tasks, max_memory, max_tasks_per_child,
                max_memory_per_child, monitoring. The options of `monitoring` that are given replace those
                of the server.

        Raises:
            ServerStateError: the server was started or shut down before.
            ValueError, TypeError, BrokerURLError, UnsupportedOperationError: as the constructor.
        """
        if self._state != "new":
            raise ServerStateError(self._state, "override the options of")
        settings = overridden(self._settings, options)
        if broker is not None:
            if self._companions.schedulers:
                raise ValueError(
                    "broker: the server's scheduler has a broker of its own: set it in the program"
                )
            self._replace_broker(broker)
            self._check_broker()
        self._settings = settings

    def run(self, handler: Handler | None = None) -> None:
        """Process tasks until a signal stops the server. Blocks. Uses uvloop if it is installed.

        SIGTERM and SIGINT shut down gracefully. A second one, at least one second after the first, shuts down
        without waiting for handlers; if a handler blocks the event loop, the process exits with status 1
        within two seconds. Signals within that first second count as the same request. SIGTSTP stops taking
        new tasks. SIGTERM or SIGINT during startup ends `run` at once.

        Args:
            handler: a ServeMux or any other handler, unless the server was given one.

        Raises:
            RuntimeError: an event loop is already running in this thread; use `await serve(handler)`.
            ServerStateError, TypeError, BrokerRefusedError, OSError: as `start`.
        """
        run_blocking(lambda: self._run_until_signal(self.start(handler)), "await serve(handler)")

    async def serve(self, handler: Handler | None = None) -> None:
        """Process tasks in the running event loop until the server is shut down.

        Cancelling it shuts down gracefully before it returns. Cancelling it again, at least one second later,
        shuts down without waiting for handlers.

        Args:
            handler: a ServeMux or any other handler, unless the server was given one.

        Raises:
            ServerStateError, TypeError, BrokerRefusedError, OSError: as `start`.
        """
        await self._serve(self.start(handler))

    async def start(self, handler: Handler | None = None) -> None:
        """Start processing tasks in the running event loop, and return.

        If the broker is unreachable, the server starts all the same and retries in the background.

        Args:
            handler: a ServeMux or any other handler, unless the server was given one.

        Raises:
            ServerStateError: the server was started or shut down before.
            TypeError: `handler` is not a handler, there is none, or the server was given one before.
            BrokerRefusedError: the broker refuses requests, for example because of a wrong password.
            RuntimeError: a module that a handler process imports starts a server.
            OSError: an address of `monitoring` cannot be used.
            ModuleNotFoundError: `monitoring` has a `metrics_port`, and the extra `metrics` is not installed.
        """
        self._check_new()
        if importing.get():
            raise RuntimeError(
                "a handler process imports the module that starts this server: "
                'start the server under `if __name__ == "__main__":`'
            )
        await self._start_worker(self._adapted(handler))

    @property
    def handler(self) -> HandlerAdapter | None:
        """The handler that the server was given when it was made."""
        return self._handler

    @property
    def monitoring(self) -> Monitoring:
        """What this server shows of itself."""
        return self._settings.monitoring

    @property
    def shutdown_timeout(self) -> timedelta:
        """How long a shutdown lets handlers finish."""
        return timedelta(milliseconds=self._settings.shutdown_timeout)

    # --- lifecycle ----------------------------------------------------------------------------------

    def _metrics_page(self, counters: RunCounters) -> MakePage:
        from asynq.metrics.worker import WorkerCollector, metrics_page

        return metrics_page(WorkerCollector([counters]))

    def _lifespan(self, lifespan: ServerLifespan | None) -> Lifespan | None:
        if lifespan is None:
            return None
        check_lifespan(lifespan)
        return Lifespan(lambda: lifespan(self), on_crash=self._begin_shutdown)

    def _adapted(self, handler: Handler | None) -> HandlerAdapter:
        if handler is None:
            if self._handler is None:
                raise TypeError("there is no handler: make the server with handler=mux, or pass mux here")
            return self._handler
        if self._handler is not None:
            raise TypeError("the server was given a handler when it was made: pass none here")
        return adapt_handler(handler)


def _checked(
    handler: Handler | None,
    retry_delay: RetryDelay | timedelta | None,
    is_failure: IsFailure | None,
    aggregator: Aggregate | None,
) -> HandlerAdapter | None:
    """The handler, adapted. Raises a TypeError or ValueError unless it and these functions can be called."""
    adapted = None if handler is None else adapt_handler(handler)
    check_retry_delay("retry_delay", retry_delay)
    check_callback("is_failure", is_failure, takes="(error)", at_once=True)
    check_callback("aggregator", aggregator, takes="(group, tasks)")
    return adapted
