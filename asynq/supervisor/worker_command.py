"""The command of one worker process, which contains its settings."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta  # noqa: TC003 - msgspec reads the annotations
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import asdict

from asynq.monitoring.options import Monitoring  # noqa: TC001 - as above
from asynq.supervisor.command import LogLevel  # noqa: TC001


class WorkerOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Options of the Server of a worker. None: not given."""

    queues: dict[str, int] | None = None
    queue_limits: dict[str, int] | None = None
    shared_queue_limits: dict[str, int] | None = None
    concurrency: int | None = None
    strict_priority: bool | None = None
    shutdown_timeout: timedelta | None = None
    lease: timedelta | None = None
    burst: bool | None = None
    max_tasks: int | None = None
    max_memory: int | None = None
    max_tasks_per_child: int | None = None
    max_memory_per_child: int | None = None
    monitoring: Monitoring | None = None

    def given(self) -> dict[str, Any]:
        """The options that are given, by their names."""
        return {name: value for name, value in asdict(self).items() if value is not None}


class WorkerSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one worker process runs. The URL of the broker, which may hold a password, is not part of it."""

    target: str
    app_dir: str = "."
    log_level: LogLevel | None = None
    options: WorkerOptions = WorkerOptions()


def worker_command(settings: WorkerSettings) -> list[str]:
    """Build the command of a process that runs one worker. It never loads the parser of command lines."""
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
    command = [sys.executable, *flags]
    if sys.path[:1] != [str(Path.cwd())]:
        command.append("-P")  # `python -m` has the current directory in its path, a script does not
    return [*command, "-m", "asynq.cli.worker_main", msgspec.json.encode(settings).decode()]


def read_settings(text: str) -> WorkerSettings:
    """Read the settings in a command that `worker_command` built."""
    return msgspec.json.decode(text, type=WorkerSettings)
