"""`asynq worker`: the options of the command."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from asynq.cli.arguments import read_duration, read_limits, read_queues, usage_error
from asynq.durations import format_duration
from asynq.supervisor.command import BROKER_VARIABLE, LogLevel

DEFAULT_BROKER = "redis://127.0.0.1:6379"
MIN_STALL_TIMEOUT = timedelta(seconds=1)
"""A worker measures the lag of its event loop only twice a second."""


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

    # Imported here because it is slow, and not needed for the help and for wrong arguments.
    from asynq.cli.worker_process import run_worker

    raise typer.Exit(
        run_worker(
            target,
            app_dir=app_dir,
            broker_url=broker,
            log_level=log_level,
            processes=processes,
            shutdown_timeout=timeout,
            stall_timeout=stall,
            settings=settings,
        )
    )


def _read_stall_timeout(text: str) -> timedelta:
    timeout = read_duration("--stall-timeout", text)
    if timeout < MIN_STALL_TIMEOUT:
        raise usage_error(f"--stall-timeout must be at least {format_duration(MIN_STALL_TIMEOUT)}")
    return timeout
