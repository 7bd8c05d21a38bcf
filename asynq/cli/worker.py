"""`asynq worker`: runs a server from a shell, in one or several processes."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from asynq.cli.arguments import load_handler, read_duration, read_limits, read_queues, usage_error
from asynq.durations import format_duration
from asynq.errors import AsynqError, BrokerRefusedError, BrokerURLError
from asynq.protocol.connect import connect
from asynq.runtime.logs import configure, get_logger
from asynq.runtime.safe_text import shown, shown_traceback
from asynq.runtime.stop_signals import block_signals
from asynq.supervisor.command import BROKER_VARIABLE, LogLevel, worker_command
from asynq.supervisor.stall_watch import start_supervisor_heartbeat
from asynq.supervisor.supervisor import INTERRUPTED, USAGE_ERROR, Supervisor, stop_with_supervisor, supervise
from asynq.supervisor.usage_errors import UsageErrorReporter

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("asynq.worker")

DEFAULT_BROKER = "redis://127.0.0.1:6379"
MIN_STALL_TIMEOUT = timedelta(seconds=1)
"""A worker measures the lag of its event loop only twice a second."""
SETTLE_ALLOWANCE = timedelta(seconds=15)
"""Time after the shutdown timeout for a worker to cancel handlers and settle their tasks."""


Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queue", "-q", metavar="NAME[=WEIGHT]", help="A queue to serve. Repeatable. [default: default=1]"
    ),
]
Limits = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=NUMBER", help="Maximum concurrent tasks of a queue, per process. Repeatable."
    ),
]
SharedLimits = Annotated[
    list[str] | None,
    typer.Option(
        "--shared-limit", metavar="NAME=NUMBER", help="The same for all workers together. Repeatable."
    ),
]
Lease = Annotated[
    str | None,
    typer.Option(
        "--lease", metavar="DURATION", help="Time until tasks of a lost worker are recovered. [default: 30s]"
    ),
]

StallTimeout = Annotated[
    str | None,
    typer.Option(
        "--stall-timeout",
        metavar="DURATION",
        help="Kill and restart a process whose event loop is blocked for longer. [default: never]",
    ),
]


Target = Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The mux or handler, e.g. app.tasks:mux.")]
BrokerURL = Annotated[
    str,
    typer.Option(
        "--broker", "-b", metavar="URL", envvar=BROKER_VARIABLE, show_envvar=True, help="URL of the broker."
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option("--concurrency", "-c", min=1, help="Maximum concurrent tasks, per process. [default: CPUs]"),
]
Processes = Annotated[int, typer.Option("--processes", "-p", min=1, help="Number of worker processes.")]
StrictPriority = Annotated[
    bool, typer.Option("--strict-priority", help="Serve a queue only while heavier queues are empty.")
]
ShutdownTimeout = Annotated[
    str, typer.Option("--shutdown-timeout", metavar="DURATION", help="How long running tasks may finish.")
]
LogLevelOption = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level", case_sensitive=False, help="Log level. [default: info, or as configured by MODULE]"
    ),
]
AppDir = Annotated[
    Path,
    typer.Option("--app-dir", "-d", exists=True, file_okay=False, help="Directory that contains MODULE."),
]


def worker(
    target: Target,
    *,
    broker: BrokerURL = DEFAULT_BROKER,
    queue: Queues = None,
    concurrency: Concurrency = None,
    processes: Processes = 1,
    strict_priority: StrictPriority = False,
    limit: Limits = None,
    shared_limit: SharedLimits = None,
    shutdown_timeout: ShutdownTimeout = "8s",
    lease: Lease = None,
    stall_timeout: StallTimeout = None,
    log_level: LogLevelOption = None,
    app_dir: AppDir = Path(),
) -> None:
    """Process tasks until a signal stops it.

    SIGTERM and Ctrl-C shut down gracefully: running tasks may finish. SIGTSTP stops taking new tasks.
    """
    timeout = read_duration("--shutdown-timeout", shutdown_timeout)
    settings: dict[str, Any] = {"strict_priority": strict_priority, "shutdown_timeout": timeout}
    stall = None if stall_timeout is None else _read_stall_timeout(stall_timeout)
    if queue:
        settings["queues"] = read_queues(queue)
    if limit:
        settings["queue_limits"] = read_limits("--limit", limit)
    if shared_limit:
        settings["shared_queue_limits"] = read_limits("--shared-limit", shared_limit)
    if concurrency is not None:
        settings["concurrency"] = concurrency
    if lease is not None:
        settings["lease"] = read_duration("--lease", lease)

    def run() -> int:
        if processes == 1 and stall is None:
            return _serve(target, app_dir, broker, log_level, settings)
        command = worker_command(target, app_dir=app_dir, log_level=log_level, **settings)
        configure(log_level and log_level.upper())
        return _supervise(command, processes, broker, timeout, stall)

    raise typer.Exit(_status(run))


def _status(run: Callable[[], int]) -> int:
    """Run, and return the exit status. A usage error is reported to the supervisor, if there is one."""
    usage_error_reporter = UsageErrorReporter()
    try:
        status = run()
    except KeyboardInterrupt:
        # There are no tasks yet before signals are handled.
        return INTERRUPTED
    except typer.BadParameter:
        usage_error_reporter.report()
        raise
    if status == USAGE_ERROR:
        usage_error_reporter.report()
    return status


def _read_stall_timeout(text: str) -> timedelta:
    timeout = read_duration("--stall-timeout", text)
    if timeout < MIN_STALL_TIMEOUT:
        raise usage_error(f"--stall-timeout must be at least {format_duration(MIN_STALL_TIMEOUT)}")
    return timeout


def _supervise(
    command: list[str], processes: int, broker: str, timeout: timedelta, stall: timedelta | None
) -> int:
    """Keep worker processes running. Returns their overall exit status."""
    check_shared(broker)
    supervisor = Supervisor(
        command,
        processes,
        env={**os.environ, BROKER_VARIABLE: broker},
        stop_timeout=(timeout + SETTLE_ALLOWANCE).total_seconds(),
        stall_timeout=None if stall is None else stall.total_seconds(),
        rng=random.Random(),  # noqa: S311 - jitter of restarts
    )
    return asyncio.run(supervise(supervisor))


def check_shared(broker_url: str) -> None:
    """Raise a usage error unless several processes can use this broker."""
    try:
        capabilities = connect(broker_url).capabilities
    except BrokerURLError as error:
        raise usage_error(str(error)) from None
    if not capabilities.multi_process:
        raise usage_error(f"--broker: the {capabilities.backend} broker works within one process only")


def _serve(
    target: str, app_dir: Path, broker_url: str, log_level: LogLevel | None, settings: dict[str, Any]
) -> int:
    """Run a server in this process. Returns the exit status."""
    from asynq.server import Server

    stop_with_supervisor()
    block_signals(signal.SIGTSTP)
    try:
        handler = load_handler(target, app_dir)
    except (typer.BadParameter, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - shows any error of the user's module
        typer.echo(shown_traceback(error), err=True)
        typer.echo(f"Error: {target.partition(':')[0]!r} could not be imported", err=True)
        return USAGE_ERROR
    # After the import, because the logging configuration of the module takes precedence.
    configure(log_level and log_level.upper())
    try:
        server = Server(broker_url, **settings)
        if not connect(broker_url).capabilities.multi_process:
            log.warning("this broker works within one process: only its own handlers can enqueue tasks")
    except (TypeError, ValueError) as error:
        raise usage_error(str(error)) from None
    try:
        start_supervisor_heartbeat(lambda: server.loop_lag)
        server.run(handler)
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) else 1
    return 0
