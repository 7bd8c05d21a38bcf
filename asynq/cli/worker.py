"""`asynq worker`: the options of the command."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from asynq.cli.arguments import (
    read_duration,
    read_limits,
    read_queues,
    read_size,
    refuse_empty_url,
    usage_error,
)
from asynq.cli.project import configured_broker
from asynq.durations import format_duration
from asynq.runtime.log_format import FORMAT_VARIABLE, LogFormat
from asynq.supervisor.command import BROKER_VARIABLE, DEFAULT_BROKER, LogLevel

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.cli.worker_launch import BrokerChoice
    from asynq.monitoring.options import Monitoring

T = TypeVar("T")

MIN_STALL_TIMEOUT = timedelta(seconds=1)
"""A worker measures the lag of its event loop only twice a second."""


Queues = Annotated[
    list[str] | None,
    typer.Option(
        "--queue",
        "-q",
        metavar="NAME[=WEIGHT]",
        help="A queue to serve, or a pattern such as 'tenant-*'. Repeatable. [default: default=1]",
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


Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:NAME",
        help="The server, mux or handler, or a function that makes one, e.g. app.tasks:mux.",
    ),
]
BrokerURL = Annotated[
    str | None,
    typer.Option(
        "--broker",
        "-b",
        metavar="URL",
        envvar=BROKER_VARIABLE,
        callback=refuse_empty_url,
        show_envvar=True,
        help="URL of the broker. The variable and the default do not apply to a server."
        f" [default: broker in [tool.asynq] of pyproject.toml, or {DEFAULT_BROKER}]",
    ),
]
Concurrency = Annotated[
    int | None,
    typer.Option(
        "--concurrency",
        "-c",
        metavar="NUMBER",
        min=1,
        help="Maximum concurrent tasks, per process. [default: CPUs]",
    ),
]
Processes = Annotated[
    int, typer.Option("--processes", "-p", metavar="NUMBER", min=1, help="Number of worker processes.")
]
StrictPriority = Annotated[
    bool | None,
    typer.Option("--strict-priority", help="Serve a queue only while heavier queues are empty."),
]
ShutdownTimeout = Annotated[
    str | None,
    typer.Option(
        "--shutdown-timeout", metavar="DURATION", help="How long running tasks may finish. [default: 8s]"
    ),
]
LogLevelOption = Annotated[
    LogLevel | None,
    typer.Option(
        "--log-level", case_sensitive=False, help="Log level. [default: info, or as configured by MODULE]"
    ),
]
Burst = Annotated[
    bool | None, typer.Option("--burst", help="End when no task is pending or due in the queues.")
]
MaxTasks = Annotated[
    int | None,
    typer.Option(
        "--max-tasks",
        metavar="NUMBER",
        min=1,
        help="End after so many runs; with --processes another starts.",
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory", metavar="SIZE", help="End if a process uses so much; with --processes another starts."
    ),
]
MaxTasksPerChild = Annotated[
    int | None,
    typer.Option(
        "--max-tasks-per-child",
        metavar="NUMBER",
        min=1,
        help="Replace a handler process after so many tasks.",
    ),
]
MaxMemoryPerChild = Annotated[
    str | None,
    typer.Option(
        "--max-memory-per-child", metavar="SIZE", help="Replace a handler process that uses so much."
    ),
]
LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        case_sensitive=False,
        envvar=FORMAT_VARIABLE,
        help="Format of log lines, unless MODULE configures logging. [default: text]",
    ),
]
HealthPort = Annotated[
    int | None,
    typer.Option(
        "--health-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Serve /livez and /readyz at this port; 0: any free one.",
    ),
]
HealthHost = Annotated[
    str | None,
    typer.Option("--health-host", metavar="ADDRESS", help="Address of that port. [default: 127.0.0.1]"),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        "--metrics-port",
        metavar="PORT",
        min=0,
        max=65535,
        help="Serve /metrics for Prometheus at this port; 0: any free one.",
    ),
]
MetricsHost = Annotated[
    str | None,
    typer.Option("--metrics-host", metavar="ADDRESS", help="Address of that port. [default: 127.0.0.1]"),
]
StatsD = Annotated[
    str | None,
    typer.Option(
        "--statsd", metavar="HOST:PORT", help="Send metrics to StatsD; dogstatsd://HOST:PORT: with tags."
    ),
]
MaxLoopLag = Annotated[
    str | None,
    typer.Option(
        "--max-loop-lag",
        metavar="DURATION",
        help="How long the event loop may be blocked before health checks fail. [default: 30s]",
    ),
]
AppDir = Annotated[
    Path,
    typer.Option(
        "--app-dir",
        "-d",
        metavar="PATH",
        exists=True,
        file_okay=False,
        help="Directory that contains MODULE.",
    ),
]

Reload = Annotated[
    bool, typer.Option("--reload", help="For development: restart when a Python file of the program changes.")
]
ReloadDirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--reload-dir",
        metavar="PATH",
        exists=True,
        file_okay=False,
        help="Directory to watch, with --reload. Repeatable. [default: that of --app-dir]",
    ),
]


def worker(
    context: typer.Context,
    target: Target,
    *,
    broker: BrokerURL = None,
    queue: Queues = None,
    concurrency: Concurrency = None,
    processes: Processes = 1,
    strict_priority: StrictPriority = None,
    limit: Limits = None,
    shared_limit: SharedLimits = None,
    shutdown_timeout: ShutdownTimeout = None,
    lease: Lease = None,
    stall_timeout: StallTimeout = None,
    burst: Burst = None,
    max_tasks: MaxTasks = None,
    max_memory: MaxMemory = None,
    max_tasks_per_child: MaxTasksPerChild = None,
    max_memory_per_child: MaxMemoryPerChild = None,
    log_level: LogLevelOption = None,
    health_port: HealthPort = None,
    health_host: HealthHost = None,
    max_loop_lag: MaxLoopLag = None,
    metrics_port: MetricsPort = None,
    metrics_host: MetricsHost = None,
    statsd: StatsD = None,
    log_format: LogFormatOption = None,
    app_dir: AppDir = Path(),
    reload: Reload = False,
    reload_dir: ReloadDirs = None,
) -> None:
    """Process tasks until a signal stops it.

    A server keeps its own options, except those that are given here. Each process makes its own server.
    SIGTERM and Ctrl-C shut down gracefully: running tasks may finish. SIGTSTP stops taking new tasks.
    """
    # Imported here because it is slow, and not needed for the help and for wrong arguments.
    from asynq.cli.worker_launch import launch
    from asynq.supervisor.worker_command import WorkerOptions, WorkerSettings

    options = WorkerOptions(
        queues=read_queues(queue) if queue else None,
        queue_limits=read_limits("--limit", limit) if limit else None,
        shared_queue_limits=read_limits("--shared-limit", shared_limit) if shared_limit else None,
        concurrency=concurrency,
        strict_priority=strict_priority,
        shutdown_timeout=_if_given(read_duration, "--shutdown-timeout", shutdown_timeout),
        lease=_if_given(read_duration, "--lease", lease),
        burst=burst,
        max_tasks=max_tasks,
        max_memory=_if_given(read_size, "--max-memory", max_memory),
        max_tasks_per_child=max_tasks_per_child,
        max_memory_per_child=_if_given(read_size, "--max-memory-per-child", max_memory_per_child),
        monitoring=_shown((health_port, health_host), max_loop_lag, (metrics_port, metrics_host), statsd),
    )
    settings = WorkerSettings(target=target, app_dir=str(app_dir), log_level=log_level, options=options)
    stall = _if_given(_read_stall_timeout, "--stall-timeout", stall_timeout)
    choose_format(log_format)
    choice, watched = _choice(context, broker), _watched(reload_dir or [app_dir]) if reload else []
    raise typer.Exit(launch(settings, choice, processes=processes, stall_timeout=stall, reload_dirs=watched))


def choose_format(log_format: LogFormat | None) -> None:
    """Let this process and those that it starts log in this format."""
    if log_format is not None:
        os.environ[FORMAT_VARIABLE] = log_format.value


def _if_given(read: Callable[[str, str], T], option: str, text: str | None) -> T | None:
    return None if text is None else read(option, text)


def _shown(
    health: tuple[int | None, str | None],
    max_loop_lag: str | None,
    metrics: tuple[int | None, str | None],
    statsd: str | None,
) -> Monitoring:
    from asynq.cli.monitoring import monitoring

    return monitoring(health, max_loop_lag, metrics, statsd)


def _watched(directories: list[Path]) -> list[str]:
    return [str(each) for each in directories]


def _choice(context: typer.Context, broker: str | None) -> BrokerChoice:
    """The broker, and whether it is an argument rather than from the environment."""
    from asynq.cli.worker_launch import BrokerChoice

    source = context.get_parameter_source("broker")
    given = source is not None and source.name == "COMMANDLINE"
    return BrokerChoice(configured_broker() if broker is None else broker, given=given)


def _read_stall_timeout(option: str, text: str) -> timedelta:
    timeout = read_duration(option, text)
    if timeout < MIN_STALL_TIMEOUT:
        raise usage_error(f"{option} must be at least {format_duration(MIN_STALL_TIMEOUT)}")
    return timeout
