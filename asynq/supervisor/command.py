"""Environment variables, defaults and exit statuses of worker processes."""

from __future__ import annotations

import signal
from datetime import timedelta
from enum import StrEnum

BROKER_VARIABLE = "ASYNQ_BROKER"
"""Environment variable with the broker's URL."""
DEFAULT_BROKER = "redis://127.0.0.1:6379"
OVERRIDE_VARIABLE = "ASYNQ_SUPERVISOR_OVERRIDE"
"""Set in a worker process if the URL was an argument of the command, which replaces a server's broker."""
SHUTDOWN_TIMEOUT = timedelta(seconds=8)
SETTLE_ALLOWANCE = timedelta(seconds=15)
"""Time after the shutdown timeout for a worker to cancel handlers and settle their tasks."""
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
