"""What `asynq worker` does: run a server in this process, or keep several processes running that do."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import typer
from attrs import frozen

from asynq.cli.arguments import usage_error
from asynq.cli.targets import load_application, load_or_show
from asynq.errors import AsynqError, BrokerRefusedError, BrokerURLError
from asynq.protocol.connect import connect
from asynq.runtime.garbage import tune_collector
from asynq.runtime.logs import configure, get_logger
from asynq.runtime.safe_text import shown, shown_traceback
from asynq.runtime.stop_signals import block_signals
from asynq.server import Server
from asynq.supervisor.command import (
    BROKER_VARIABLE,
    DEFAULT_BROKER,
    INTERRUPTED,
    OVERRIDE_VARIABLE,
    SHUTDOWN_TIMEOUT,
    USAGE_ERROR,
    worker_command,
)
from asynq.supervisor.reports import SupervisorReporter
from asynq.supervisor.stall_watch import start_supervisor_heartbeat
from asynq.supervisor.supervisor import Supervisor, stop_with_supervisor, supervise

if TYPE_CHECKING:
    from pathlib import Path

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.supervisor.command import LogLevel

log = get_logger("asynq.worker")

SETTLE_ALLOWANCE = timedelta(seconds=15)
"""Time after the shutdown timeout for a worker to cancel handlers and settle their tasks."""


@frozen
class BrokerChoice:
    """The broker that a command line names."""

    url: str | None
    """None: neither an argument nor the environment names one."""
    given: bool
    """Whether it is an argument, which replaces the broker of a server."""


def run_worker(
    target: str,
    *,
    app_dir: Path,
    broker: BrokerChoice,
    log_level: LogLevel | None,
    processes: int,
    stall_timeout: timedelta | None,
    settings: dict[str, Any],
) -> int:
    """Run one worker, or several in processes of their own. Returns the exit status.

    A usage error is reported to the supervisor, if there is one. `settings` are options of the Server.
    """
    reporter = SupervisorReporter()
    if os.environ.pop(OVERRIDE_VARIABLE, None) is not None:
        broker = BrokerChoice(broker.url, given=True)
    try:
        if processes == 1 and stall_timeout is None:
            status = _serve(
                target,
                app_dir=app_dir,
                broker=broker,
                log_level=log_level,
                settings=settings,
                reporter=reporter,
            )
        else:
            command = worker_command(target, app_dir=app_dir, log_level=log_level, **settings)
            configure(log_level and log_level.upper())
            timeout = settings.get("shutdown_timeout", SHUTDOWN_TIMEOUT)
            status = _supervise(command, processes, broker, timeout, stall_timeout)
    except KeyboardInterrupt:
        # There are no tasks yet before signals are handled.
        return INTERRUPTED
    except typer.BadParameter:
        reporter.cannot_start()
        raise
    if status == USAGE_ERROR:
        reporter.cannot_start()
    return status


def _supervise(
    command: list[str], processes: int, broker: BrokerChoice, timeout: timedelta, stall: timedelta | None
) -> int:
    """Keep worker processes running. Returns their overall exit status."""
    env = dict(os.environ)
    if broker.url is not None:
        env[BROKER_VARIABLE] = broker.url
        if broker.given:
            check_shared(broker.url)
            env[OVERRIDE_VARIABLE] = "1"
    supervisor = Supervisor(
        command,
        processes,
        env=env,
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
        raise usage_error(f"--broker: {_one_process_only(capabilities.backend)}")


def _serve(
    target: str,
    *,
    app_dir: Path,
    broker: BrokerChoice,
    log_level: LogLevel | None,
    settings: dict[str, Any],
    reporter: SupervisorReporter,
) -> int:
    """Run a server in this process. Returns the exit status."""
    stop_with_supervisor()
    block_signals(signal.SIGTSTP)
    application = load_or_show(load_application, target, app_dir)
    if application is None:
        return USAGE_ERROR
    # After the import, because the logging configuration of the module takes precedence.
    configure(log_level and log_level.upper())
    try:
        server = _configured(application, broker, settings)
    except (AsynqError, TypeError, ValueError) as error:
        raise usage_error(str(error)) from None
    capabilities = server.broker.capabilities
    if not capabilities.multi_process:
        if reporter.supervised:
            raise usage_error(_one_process_only(capabilities.backend))
        log.warning("this broker works within one process: only its own handlers can enqueue tasks")
    reporter.stop_timeout((server.shutdown_timeout + SETTLE_ALLOWANCE).total_seconds())
    try:
        start_supervisor_heartbeat(lambda: server.loop_lag)
        tune_collector()
        server.run()
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) or not server.started else 1
    except BaseException as error:
        if server.started or isinstance(error, KeyboardInterrupt):
            raise
        typer.echo(shown_traceback(error), err=True)
        typer.echo(f"Error: the server could not start: {shown(error)}", err=True)
        return USAGE_ERROR
    return 0


def _configured(
    application: Server | HandlerAdapter, broker: BrokerChoice, settings: dict[str, Any]
) -> Server:
    """The server of the application with the options of the command line, or a new one for a handler."""
    if isinstance(application, Server):
        application.override(broker.url if broker.given else None, **settings)
        return application
    return Server(broker.url or DEFAULT_BROKER, handler=application, **settings)


def _one_process_only(backend: str) -> str:
    return f"the {backend} broker works within one process only"
