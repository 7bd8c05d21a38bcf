"""The command line of one worker process, and its exit statuses."""

from __future__ import annotations

import signal
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from asynq.durations import format_duration

BROKER_VARIABLE = "ASYNQ_BROKER"
"""Environment variable with the broker's URL."""
DEFAULT_BROKER = "redis://127.0.0.1:6379"
OVERRIDE_VARIABLE = "ASYNQ_SUPERVISOR_OVERRIDE"
"""Set in a worker process if the URL was an argument of the command, which replaces a server's broker."""
SHUTDOWN_TIMEOUT = timedelta(seconds=8)
USAGE_ERROR = 2
"""Exit status after a usage error. A worker reports it with a `SupervisorReporter`, not with this status."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit status of a worker that was stopped before it started to work."""


class LogLevel(StrEnum):
    """The log level of a worker."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def worker_command(
    target: str,
    *,
    app_dir: Path = Path(),
    log_level: LogLevel | None = None,
    queues: dict[str, int] | None = None,
    queue_limits: dict[str, int] | None = None,
    shared_queue_limits: dict[str, int] | None = None,
    concurrency: int | None = None,
    strict_priority: bool = False,
    shutdown_timeout: timedelta | None = None,
    lease: timedelta | None = None,
) -> list[str]:
    """Build the command of a worker process. The broker URL, which may hold a password, is not part of it."""
    command = [sys.executable, "-m", "asynq", "worker", target]
    command += ["--app-dir", str(app_dir)]
    command += ["--log-level", log_level] if log_level is not None else []
    command += (
        ["--shutdown-timeout", format_duration(shutdown_timeout)] if shutdown_timeout is not None else []
    )
    command += [f"--queue={name}={weight}" for name, weight in (queues or {}).items()]
    command += [f"--limit={name}={most}" for name, most in (queue_limits or {}).items()]
    command += [f"--shared-limit={name}={most}" for name, most in (shared_queue_limits or {}).items()]
    command += ["--concurrency", str(concurrency)] if concurrency is not None else []
    command += ["--strict-priority"] if strict_priority else []
    command += ["--lease", format_duration(lease)] if lease is not None else []
    return command
