"""`HealthFile`: the health of a worker process, in memory that it shares with its supervisor."""

from __future__ import annotations

import os
import struct
import time
import zlib
from typing import TYPE_CHECKING

import msgspec

from asynq.runtime.anonymous_file import anonymous_file, inherited_file
from asynq.runtime.health import LOOP, STARTED, Health

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from datetime import timedelta
    from io import FileIO

_FD = "ASYNQ_SUPERVISOR_HEALTH"
"""Environment variable of a worker process: the file descriptor of its health file."""
_HEAD = struct.Struct("=IId")
"""Checksum and length of what follows; seconds of the monotonic clock, which all processes share."""
MAX_REASON = 300
"""Characters of the reason why a check fails."""
READS = 3
"""How often a record is read that is being written meanwhile."""
WRITE_INTERVAL = 0.5
"""Seconds between two records of a process."""


class HealthFile:
    """Written by one process and read by its supervisor. A process that replaces another uses the same file.

    Args:
        file: an existing file, in the process that writes it.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self, file: FileIO | None = None, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._file = file or anonymous_file("asynq-health")
        self._monotonic = monotonic

    @classmethod
    def inherited(cls, environ: MutableMapping[str, str] = os.environ) -> HealthFile | None:
        """The file that the supervisor of this process made; None if there is none."""
        file = inherited_file(_FD, environ)
        return None if file is None else cls(file)

    @property
    def fd(self) -> int:
        """The file descriptor that the worker inherits."""
        return self._file.fileno()

    def environment(self) -> dict[str, str]:
        """Environment variables for the worker process."""
        return {_FD: str(self.fd)}

    def write(self, health: Health) -> None:
        """Replace what the file says. Called by the worker."""
        body = msgspec.json.encode({check: why[:MAX_REASON] for check, why in health.failing.items()})
        os.pwrite(self.fd, _HEAD.pack(zlib.crc32(body), len(body), self._monotonic()) + body, 0)

    def clear(self) -> None:
        """Forget what was written: the process has ended, or another starts."""
        os.truncate(self.fd, 0)

    def read(self, max_age: timedelta) -> Health:
        """The health that the process has written.

        A process that has written nothing is starting. One that has written nothing for longer than
        `max_age` is stuck: its interpreter lock is held, or it is stopped.
        """
        for _ in range(READS):
            content = os.pread(self.fd, os.fstat(self.fd).st_size, 0)
            if not content:
                break
            checksum, length, instant = _HEAD.unpack_from(content)
            body = content[_HEAD.size : _HEAD.size + length]
            if zlib.crc32(body) == checksum:
                health = Health(msgspec.json.decode(body, type=dict[str, str]))
                silent = self._monotonic() - instant
                if silent <= max_age.total_seconds() + WRITE_INTERVAL:
                    return health
                return Health({**health.failing, LOOP: f"it has not reported for {silent:.0f} s"})
        return Health({STARTED: "it is starting"})

    def close(self) -> None:
        """Close the file."""
        self._file.close()
