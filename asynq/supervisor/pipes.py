"""What a worker process tells its supervisor: a pipe that the process inherits."""

from __future__ import annotations

import os


class SupervisorPipe:
    """The supervisor's side of a pipe from one worker process."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)

    @property
    def fd(self) -> int:
        """What the process is to inherit."""
        return self._writing

    def heard(self) -> bool:
        """Whether the process has written since this was called last. Never waits."""
        try:
            return bool(os.read(self._reading, 65536))
        except BlockingIOError:
            return False

    def close(self) -> None:
        """Free the pipe."""
        os.close(self._reading)
        os.close(self._writing)
