"""What a worker process does: run a server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asynq.cli.arguments import usage_error, usage_error_class
from asynq.cli.monitoring import cannot_listen
from asynq.cli.targets import load_application, load_or_show
from asynq.cli.worker_launch import one_process_only
from asynq.errors import AsynqError, BrokerRefusedError
from asynq.handlers.task_logs import TaskLogFilter
from asynq.monitoring.counters import RunCounters
from asynq.monitoring.counting_recorder import CountingRecorder
from asynq.monitoring.health_file import WRITE_INTERVAL, HealthFile
from asynq.monitoring.monitor import HealthThread, ListenError
from asynq.monitoring.options import Monitoring
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
    SETTLE_ALLOWANCE,
    USAGE_ERROR,
)
from asynq.supervisor.reports import SupervisorReporter
from asynq.supervisor.stall_watch import start_supervisor_heartbeat
from asynq.supervisor.supervisor import stop_with_supervisor

if TYPE_CHECKING:
    from asynq.runtime.health import Health
    from asynq.supervisor.worker_command import WorkerSettings

log = get_logger("asynq.worker")


def run_worker(settings: WorkerSettings) -> int:
    """Run a server in this process. Returns the exit status.

    If the process cannot start, for example after a usage error, this is reported to its supervisor.
    """
    # Before user code runs, so that subprocesses do not inherit what they are made of.
    reporter, health, counters = SupervisorReporter(), HealthFile.inherited(), RunCounters.inherited()
    try:
        status = _serve(settings, reporter, health, counters)
    except KeyboardInterrupt:
        # There are no tasks yet before signals are handled.
        return INTERRUPTED
    except usage_error_class() as error:
        error.show()
        status = USAGE_ERROR
    if status == USAGE_ERROR:
        reporter.cannot_start()
    return status


def _serve(
    settings: WorkerSettings,
    reporter: SupervisorReporter,
    health: HealthFile | None,
    counters: RunCounters | None,
) -> int:
    url, replaces = os.environ.get(BROKER_VARIABLE), os.environ.pop(OVERRIDE_VARIABLE, None) is not None
    stop_with_supervisor()
    block_signals(signal.SIGTSTP)
    application = load_or_show(load_application, settings.target, Path(settings.app_dir))
    if application is None:
        return USAGE_ERROR
    # After the import, because the logging configuration of the module takes precedence.
    configure(settings.log_level and settings.log_level.upper(), filters=(TaskLogFilter(),))
    options = settings.options.given()
    try:
        if isinstance(application, Server):
            server = application
            server.override(url if replaces else None, **options)
        else:
            server = Server(url or DEFAULT_BROKER, handler=application, **options)
    except (AsynqError, TypeError, ValueError) as error:
        raise usage_error(str(error)) from None
    capabilities = server.broker.capabilities
    if not capabilities.multi_process:
        if reporter.supervised:
            raise usage_error(one_process_only(capabilities.backend))
        log.warning("this broker works within one process: only its own handlers can enqueue tasks")
    reporter.stop_timeout((server.shutdown_timeout + SETTLE_ALLOWANCE).total_seconds())
    try:
        start_supervisor_heartbeat(lambda: server.loop_lag)
        tune_collector()
        _share(server, health, counters)
        server.run()
        _report_end(server, reporter)
    except ListenError as error:
        raise cannot_listen(error) from None
    except AsynqError as error:
        sys.stderr.write(f"Error: {shown(error)}\n")
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) or not server.started else 1
    except BaseException as error:
        if server.started or isinstance(error, KeyboardInterrupt):
            raise
        sys.stderr.write(f"{shown_traceback(error)}\nError: the server could not start: {shown(error)}\n")
        return USAGE_ERROR
    return 0


def _share(server: Server, health: HealthFile | None, counters: RunCounters | None) -> None:
    """Let the supervisor see how the server does, and what it counts, if the supervisor wants to."""
    if health:
        _report_health(server, health)
    if counters:
        recorders = [*(server.monitoring.recorders or ()), CountingRecorder(counters)]
        server.override(monitoring=Monitoring(recorders=recorders))


def _report_health(server: Server, file: HealthFile) -> None:
    longest = server.monitoring.longest_lag

    def check(*, broker: bool) -> Health:
        return server.health_from_thread(broker=broker, max_loop_lag=longest)

    HealthThread(check, file.write, WRITE_INTERVAL)


def _report_end(server: Server, reporter: SupervisorReporter) -> None:
    """Tell the supervisor why the server ended by itself, if it did."""
    if server.end_reason == "idle":
        reporter.finished()
    elif server.end_reason == "limit":
        reporter.replace()
