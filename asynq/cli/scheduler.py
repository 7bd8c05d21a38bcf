"""`asynq scheduler`: the options of the command."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from asynq.cli.worker import (
    AppDir,
    HealthHost,
    HealthPort,
    LogFormatOption,
    LogLevelOption,
    MaxLoopLag,
    choose_format,
)

Targets = Annotated[
    list[str],
    typer.Argument(
        metavar="MODULE:NAME",
        help="A scheduler or periodic task manager, or a function that makes one, e.g. app.tasks:scheduler.",
    ),
]


def scheduler(
    targets: Targets,
    *,
    log_level: LogLevelOption = None,
    health_port: HealthPort = None,
    health_host: HealthHost = None,
    max_loop_lag: MaxLoopLag = None,
    log_format: LogFormatOption = None,
    app_dir: AppDir = Path(),
) -> None:
    """Enqueue periodic tasks until a signal stops it.

    Any number may run, on any machines: each tick is enqueued once. SIGTERM and Ctrl-C shut down gracefully.
    """
    # Imported here because it is slow, and not needed for the help and for wrong arguments.
    from asynq.cli.monitoring import monitoring
    from asynq.cli.scheduler_process import run_schedulers

    choose_format(log_format)
    shown = monitoring((health_port, health_host), max_loop_lag)
    raise typer.Exit(run_schedulers(targets, app_dir=app_dir, log_level=log_level, monitoring=shown))
