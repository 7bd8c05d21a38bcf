"""`Setup`: what a worker passes to a new handler process: arguments, main module, log levels."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from attrs import Factory, frozen

from asynq.handlers.processes.main_module import MainModule
from asynq.runtime.logs import Levels
from asynq.runtime.process_limits import NO_LIMITS, ProcessLimits

if TYPE_CHECKING:
    import logging
    from collections.abc import Sequence


def _start_method() -> str | None:
    """The method that the program has chosen."""
    # Not with this module: few workers have handler processes.
    import multiprocessing

    return multiprocessing.get_start_method(allow_none=True)


@frozen
class Setup:
    """The first message of a worker. The process inherits everything else, such as its environment."""

    argv: Sequence[str] = Factory(lambda: tuple(sys.argv))
    program: MainModule = Factory(MainModule.here)
    parent: int = Factory(os.getpid)
    """Process id of the worker."""
    levels: Levels = Factory(Levels.of_program)
    start_method: str | None = Factory(_start_method)
    """How `multiprocessing` starts processes, if the program has chosen a method."""
    limits: ProcessLimits = NO_LIMITS
    """When the process takes no further calls."""
    preload: bytes = b""
    """A pickled function whose module is imported before the first call; empty: none."""

    def apply_before_imports(self) -> None:
        """Apply what modules of the program may read while they are imported."""
        sys.argv[:] = self.argv

    def apply_after_imports(self, filters: Sequence[logging.Filter]) -> None:
        """Apply what the program configured, after its modules were imported and configured themselves.

        `filters` are those of our own log output.
        """
        self.levels.follow(filters=filters)
        if self.start_method and _start_method() is None:
            import multiprocessing

            multiprocessing.set_start_method(self.start_method)
