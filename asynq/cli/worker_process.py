"""What `asynq worker` does: run a server in this process, or keep several processes running that do."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer

from asynq.cli.arguments import load_handler, usage_error
from asynq.errors import AsynqError, BrokerRefusedError, BrokerURLError
from asynq.protocol.connect import connect
from asynq.runtime.garbage import tune_collector
from asynq.runtime.logs import configure, get_logger
from asynq.runtime.safe_text import shown, shown_traceback
from asynq.runtime.stop_signals import block_signals
from asynq.supervisor.command import BROKER_VARIABLE, INTERRUPTED, USAGE_ERROR, worker_command
from asynq.supervisor.stall_watch import start_supervisor_heartbeat
from asynq.supervisor.supervisor import Supervisor, stop_with_supervisor, supervise
from asynq.supervisor.usage_errors import UsageErrorReporter

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.supervisor.command import LogLevel

log = get_logger("asynq.worker")

SETTLE_ALLOWANCE = timedelta(seconds=15)
"""Time after the shutdown timeout for a worker to cancel handlers and settle their tasks."""


def run_worker(
    target: str,
    *,
    app_dir: Path,
    broker_url: str,
    log_level: LogLevel | None,
    processes: int,
    shutdown_timeout: timedelta,
    stall_timeout: timedelta | None,
    settings: dict[str, Any],
) -> int:
    """Run one worker, or several in processes of their own. Returns the exit status.

    A usage error is reported to the supervisor, if there is one. `settings` are options of the Server.
    """
    usage_error_reporter = UsageErrorReporter()
    try:
        if processes == 1 and stall_timeout is None:
            status = _serve(target, app_dir, broker_url, log_level, settings)
        else:
            command = worker_command(target, app_dir=app_dir, log_level=log_level, **settings)
            configure(log_level and log_level.upper())
            status = _supervise(command, processes, broker_url, shutdown_timeout, stall_timeout)
    except KeyboardInterrupt:
        # There are no tasks yet before signals are handled.
        return INTERRUPTED
    except typer.BadParameter:
        usage_error_reporter.report()
        raise
    if status == USAGE_ERROR:
        usage_error_reporter.report()
    return status


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
        tune_collector()
        server.run(handler)
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) else 1
    return 0
