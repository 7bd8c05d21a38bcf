"""Replaces workers when a Python file of the program changes, for development. Needs watchfiles."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import PythonFilter, awatch

from asynq.runtime.logs import get_logger
from asynq.supervisor.supervisor import supervise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.supervisor.supervisor import Supervisor

MAX_NAMED = 3
"""Maximum number of files that a log line names."""

log = get_logger("asynq.supervisor")


async def supervise_and_reload(supervisor: Supervisor, directories: Sequence[str]) -> int:
    """Run the supervisor until it is stopped, and reload its workers after each change."""
    watching = asyncio.create_task(_watch(supervisor, directories), name="asynq-reload")
    try:
        return await supervise(supervisor)
    finally:
        watching.cancel()
        await asyncio.wait([watching])


async def _watch(supervisor: Supervisor, directories: Sequence[str]) -> None:
    """Changes that follow one another within a moment cause one reload."""
    log.info("watching the Python files in %s", ", ".join(directories))
    try:
        async for changes in awatch(*directories, watch_filter=PythonFilter(), raise_interrupt=False):
            names = sorted({Path(path).name for _, path in changes})
            more = ", ..." if len(names) > MAX_NAMED else ""
            log.warning("%s%s changed: the worker processes restart", ", ".join(names[:MAX_NAMED]), more)
            supervisor.reload()
    except Exception:
        log.exception("files are no longer watched")
