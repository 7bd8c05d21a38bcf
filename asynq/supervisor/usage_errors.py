"""What a worker process tells its supervisor when it cannot start with what it was given."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.supervisor.pipes import SupervisorPipe

if TYPE_CHECKING:
    from collections.abc import Mapping

_FD = "ASYNQ_SUPERVISOR_REFUSALS"
"""Environment variable of a worker process: where to write that it cannot start."""


class UsageErrorPipe(SupervisorPipe):
    """The supervisor's side, of one worker process.

    An exit status cannot tell it: any function of the user can end the process with any status.
    """

    def environment(self) -> Mapping[str, str]:
        """What the process is to have in its environment."""
        return {_FD: str(self.fd)}


class UsageErrorReporter:
    """The worker's side. To be made before code of the user runs, whose programs do not inherit it."""

    def __init__(self) -> None:
        told = os.environ.pop(_FD, None)
        self._fd = None if told is None else int(told)
        if self._fd is not None:
            os.set_inheritable(self._fd, False)  # noqa: FBT003 - its only form

    def tell(self) -> None:
        """Tell the supervisor, if there is one: starting this process again would not help."""
        if self._fd is not None:
            with suppress(OSError):  # it is gone
                os.write(self._fd, b"!")
