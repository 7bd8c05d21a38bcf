"""What a handler process is given of the process that its worker runs in."""

from __future__ import annotations

import multiprocessing
import os
import sys
from typing import TYPE_CHECKING

from attrs import Factory, frozen

from asynq.handlers.processes.main_module import MainModule
from asynq.runtime.logs import Levels

if TYPE_CHECKING:
    from collections.abc import Sequence


@frozen
class Setup:
    """The first message of a worker. Everything else the operating system hands down: environment, umask."""

    argv: Sequence[str] = Factory(lambda: tuple(sys.argv))
    program: MainModule = Factory(MainModule.here)
    parent: int = Factory(os.getpid)
    """The worker's process id."""
    levels: Levels = Factory(Levels.of_program)
    start_method: str | None = Factory(lambda: multiprocessing.get_start_method(allow_none=True))
    """How `multiprocessing` starts processes, if the program has chosen it."""

    def begin(self) -> None:
        """Have what modules of the program look at while they are imported."""
        sys.argv[:] = self.argv

    def follow(self) -> None:
        """Have what the program chose, now that its modules have chosen what they choose themselves."""
        self.levels.follow()
        if self.start_method and multiprocessing.get_start_method(allow_none=True) is None:
            multiprocessing.set_start_method(self.start_method)
