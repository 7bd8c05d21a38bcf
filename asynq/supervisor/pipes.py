"""A pipe from a worker process to its supervisor, which the worker inherits."""

from __future__ import annotations

import os


class SupervisorPipe:
    """The supervisor's side of a pipe from one worker process."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)

    @property
    def fd(self) -> int:
        """The file descriptor that the worker inherits."""
        return self._writing

    def received(self) -> bytes:
        """What the worker has written since the last call. Does not block."""
        try:
            return os.read(self._reading, 65536)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reading)
        os.close(self._writing)
