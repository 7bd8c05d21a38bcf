"""Reports a usage error of a worker process to its supervisor, which then does not restart it."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.supervisor.pipes import SupervisorPipe

if TYPE_CHECKING:
    from collections.abc import Mapping

_FD = "ASYNQ_SUPERVISOR_REFUSALS"
"""Environment variable of a worker process: the file descriptor for usage errors."""


class UsageErrorPipe(SupervisorPipe):
    """The supervisor's side of the pipe from one worker process.

    An exit status is not enough, because user code can exit the process with any status.
    """

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the worker process."""
        return {_FD: str(self.fd)}


class UsageErrorReporter:
    """The worker's side. Create it before user code runs, so that subprocesses do not inherit it."""

    def __init__(self) -> None:
        fd = os.environ.pop(_FD, None)
        self._fd = None if fd is None else int(fd)
        if self._fd is not None:
            os.set_inheritable(self._fd, False)  # noqa: FBT003 - its only form

    def report(self) -> None:
        """Tell the supervisor, if there is one, that restarting this process would not help."""
        if self._fd is not None:
            with suppress(OSError):  # the supervisor is gone
                os.write(self._fd, b"!")
