"""`asynq worker`: a server from a shell, in one process or several."""

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
from asynq.runtime.stop_signals import hold_back
from asynq.supervisor.command import BROKER_VARIABLE, LogLevel, worker_command
from asynq.supervisor.stall_watch import start_supervisor_heartbeat
from asynq.supervisor.supervisor import INTERRUPTED, USAGE_ERROR, Supervisor, stop_with_supervisor, supervise
from asynq.supervisor.usage_errors import UsageErrorReporter

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("asynq.worker")

DEFAULT_BROKER = "redis://127.0.0.1:6379"
MIN_STALL_TIMEOUT = timedelta(seconds=1)
"""A worker measures twice a second how far its event loop is behind."""
SETTLE_ALLOWANCE = timedelta(seconds=15)
"""What a worker gets beyond its shutdown timeout to cancel handlers and settle their tasks."""


Queues = Annotated[
    list[str] | None,
    typer.Option("--queue", "-q", metavar="NAME[=WEIGHT]", help="Repeatable. [default: default=1]"),
]
Limits = Annotated[
    list[str] | None,
    typer.Option("--limit", metavar="NAME=NUMBER", help="Most tasks of a queue at a time, per process."),
]
SharedLimits = Annotated[
    list[str] | None,
    typer.Option("--shared-limit", metavar="NAME=NUMBER", help="The same over all workers together."),
]
Lease = Annotated[
    str | None,
    typer.Option(
        "--lease", metavar="DURATION", help="How long a silent worker keeps its tasks. [default: 30s]"
    ),
]

StallTimeout = Annotated[
    str | None,
    typer.Option(
        "--stall-timeout",
        metavar="DURATION",
        help="Kill and replace a process whose event loop is blocked longer. [default: never]",
    ),
]


def worker(
    target: Annotated[str, typer.Argument(metavar="MODULE:NAME", help="The mux, e.g. app.tasks:mux.")],
    *,
    broker: Annotated[
        str, typer.Option("--broker", "-b", metavar="URL", envvar=BROKER_VARIABLE, show_envvar=True)
    ] = DEFAULT_BROKER,
    queue: Queues = None,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency", "-c", min=1, help="Tasks at a time, per process. [default: processors]"
        ),
    ] = None,
    processes: Annotated[int, typer.Option("--processes", "-p", min=1, help="Worker processes.")] = 1,
    strict_priority: Annotated[
        bool, typer.Option("--strict-priority", help="Empty heavier queues before lighter ones.")
    ] = False,
    limit: Limits = None,
    shared_limit: SharedLimits = None,
    shutdown_timeout: Annotated[
        str, typer.Option("--shutdown-timeout", metavar="DURATION", help="For tasks in flight.")
    ] = "8s",
    lease: Lease = None,
    stall_timeout: StallTimeout = None,
    log_level: Annotated[
        LogLevel | None, typer.Option(case_sensitive=False, help="[default: info, or as MODULE configures]")
    ] = None,
    app_dir: Annotated[
        Path, typer.Option("--app-dir", "-d", exists=True, file_okay=False, help="Where MODULE is looked up.")
    ] = Path(),
) -> None:
    """Process tasks until told to stop.

    SIGTERM and Ctrl-C finish the tasks in flight, SIGTSTP stops taking new ones.
    """
    patience = read_duration("--shutdown-timeout", shutdown_timeout)
    settings: dict[str, Any] = {"strict_priority": strict_priority, "shutdown_timeout": patience}
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
        return _supervise(command, processes, broker, patience, stall)

    raise typer.Exit(_status(run))


def _status(run: Callable[[], int]) -> int:
    """The exit status of a run. The supervisor, if there is one, is told of a usage error."""
    refusal = UsageErrorReporter()
    try:
        status = run()
    except KeyboardInterrupt:
        # Before signals are handled, nothing is in hand.
        return INTERRUPTED
    except typer.BadParameter:
        refusal.tell()
        raise
    if status == USAGE_ERROR:
        refusal.tell()
    return status


def _read_stall_timeout(text: str) -> timedelta:
    timeout = read_duration("--stall-timeout", text)
    if timeout < MIN_STALL_TIMEOUT:
        raise usage_error(f"--stall-timeout: it must be at least {format_duration(MIN_STALL_TIMEOUT)}")
    return timeout


def _supervise(
    command: list[str], processes: int, broker: str, patience: timedelta, stall: timedelta | None
) -> int:
    """Keep worker processes running; their exit status."""
    check_shared(broker)
    supervisor = Supervisor(
        command,
        processes,
        env={**os.environ, BROKER_VARIABLE: broker},
        stop_timeout=(patience + SETTLE_ALLOWANCE).total_seconds(),
        stall_timeout=None if stall is None else stall.total_seconds(),
        rng=random.Random(),  # noqa: S311 - spreads restarts, guards nothing
    )
    return asyncio.run(supervise(supervisor))


def check_shared(broker_url: str) -> None:
    """Usage error unless several processes can work for this broker."""
    try:
        capabilities = connect(broker_url).capabilities
    except BrokerURLError as error:
        raise usage_error(str(error)) from None
    if not capabilities.multi_process:
        raise usage_error(f"--broker: the {capabilities.backend} broker serves one process only")


def _serve(
    target: str, app_dir: Path, broker_url: str, log_level: LogLevel | None, settings: dict[str, Any]
) -> int:
    """Run one server in this process; its exit status."""
    from asynq.server import Server

    stop_with_supervisor()
    hold_back(signal.SIGTSTP)
    try:
        handler = load_handler(target, app_dir)
    except (typer.BadParameter, KeyboardInterrupt):
        raise
    except BaseException as error:  # noqa: BLE001 - all that the user's module raises is shown
        typer.echo(shown_traceback(error), err=True)
        typer.echo(f"Error: {target.partition(':')[0]!r} could not be imported", err=True)
        return USAGE_ERROR
    # Not before the module is there: what it configures counts.
    configure(log_level and log_level.upper())
    try:
        server = Server(broker_url, **settings)
        if not connect(broker_url).capabilities.multi_process:
            log.warning("this broker serves one process: only handlers of this worker can enqueue tasks here")
    except (TypeError, ValueError) as error:
        raise usage_error(str(error)) from None
    try:
        start_supervisor_heartbeat(lambda: server.loop_lag)
        server.run(handler)
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) else 1
    return 0
