"""What a worker process reports to its supervisor: that it cannot start, and how long it takes to stop."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from asynq.supervisor.pipes import SupervisorPipe

if TYPE_CHECKING:
    from collections.abc import Mapping

_FD = "ASYNQ_SUPERVISOR_REPORTS"
"""Environment variable of a worker process: the file descriptor for reports."""
_CANNOT_START = b"cannot start"
_STOP_TIMEOUT = b"stop timeout "
_FINISHED = b"finished"
_REPLACE = b"replace"


class ReportPipe(SupervisorPipe):
    """The supervisor's side of the pipe from one worker process.

    An exit status is not enough, because user code can exit the process with any status.
    """

    def __init__(self) -> None:
        super().__init__()
        self._text = b""

    def environment(self) -> Mapping[str, str]:
        """Environment variables for the worker process."""
        return {_FD: str(self.fd)}

    def cannot_start(self) -> bool:
        """Whether the worker reported that restarting it would not help."""
        return _CANNOT_START in self._lines()

    def finished(self) -> bool:
        """Whether the worker reported that nothing is left to do."""
        return _FINISHED in self._lines()

    def replace(self) -> bool:
        """Whether the worker reported that it ended because of a limit, and another is to start."""
        return _REPLACE in self._lines()

    def stop_timeout(self) -> float | None:
        """The seconds that the worker may take to stop, if it reported them."""
        reported = [line for line in self._lines() if line.startswith(_STOP_TIMEOUT)]
        return float(reported[-1].removeprefix(_STOP_TIMEOUT)) if reported else None

    def _lines(self) -> list[bytes]:
        self._text += self.received()
        return self._text.split(b"\n")[:-1]


class SupervisorReporter:
    """The worker's side. Create it before user code runs, so that subprocesses do not inherit it."""

    def __init__(self) -> None:
        fd = os.environ.pop(_FD, None)
        self._fd = None if fd is None else int(fd)
        if self._fd is not None:
            os.set_inheritable(self._fd, False)  # noqa: FBT003 - its only form

    @property
    def supervised(self) -> bool:
        """Whether this process has a supervisor."""
        return self._fd is not None

    def cannot_start(self) -> None:
        """Tell the supervisor, if there is one, that restarting this process would not help."""
        self._report(_CANNOT_START)

    def stop_timeout(self, seconds: float) -> None:
        """Tell the supervisor, if there is one, how long this process may take to stop."""
        self._report(_STOP_TIMEOUT + str(seconds).encode())

    def finished(self) -> None:
        """Tell the supervisor, if there is one, that nothing is left to do."""
        self._report(_FINISHED)

    def replace(self) -> None:
        """Tell the supervisor, if there is one, that another process is to start in place of this one."""
        self._report(_REPLACE)

    def _report(self, line: bytes) -> None:
        if self._fd is not None:
            with suppress(OSError):  # the supervisor is gone
                os.write(self._fd, line + b"\n")
