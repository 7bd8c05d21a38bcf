"""KeeperProcess: starts a lease keeper process, receives its messages, and detects its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from asynq.runtime.anonymous_file import anonymous_file
from asynq.runtime.child_signals import signals_masked
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import run_in_new_thread
from asynq.worker.leases.forked_keeper import forked_keeper
from asynq.worker.leases.keeper_messages import decode
from asynq.worker.leases.process_state import is_running

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.worker.leases.forked_keeper import ForkedKeeper
    from asynq.worker.leases.keeper_messages import KeeperMessage, KeeperSettings

log = get_logger("asynq.leases")


class KeeperProcess:
    """A running keeper process. Belongs to the event loop that spawned it."""

    def __init__(
        self, process: subprocess.Popen[bytes] | ForkedKeeper, on_message: Callable[[KeeperMessage], None]
    ) -> None:
        assert process.stdout is not None  # noqa: S101 - it is a pipe, see spawn
        self._process = process
        self._out = process.stdout.fileno()
        self._on_message = on_message
        self._unread = bytearray()
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        """Set when the process has ended or can no longer be used."""
        os.set_blocking(self._out, False)
        self._loop.add_reader(self._out, self._read)

    @classmethod
    def spawn(cls, settings: KeeperSettings, on_message: Callable[[KeeperMessage], None]) -> KeeperProcess:
        """Start a keeper process, or use the one that was forked. It sends Ready when it is ready.

        Raises:
            OSError: the process cannot be started.
        """
        with anonymous_file("asynq-lease-keeper") as file:
            file.write(msgspec.msgpack.encode(settings))
            forked = forked_keeper()
            if forked is not None:
                with suppress(OSError):
                    forked.begin(log.getEffectiveLevel(), file.fileno(), settings.held)
                return cls(forked, on_message)
            return cls(_start(file.fileno(), settings.held), on_message)

    @property
    def running(self) -> bool:
        """Whether the process can extend leases now. From any thread. Also detects an end not yet noticed."""
        return not self.ended.is_set() and is_running(self._process.pid)

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        self._end()
        self._process.kill()
        await run_in_new_thread(self._process.wait)

    def _read(self) -> None:
        try:
            received = os.read(self._out, 65536)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._end()
            return
        self._unread += received
        while (end := self._unread.find(b"\n")) >= 0:
            line = bytes(self._unread[: end + 1])
            del self._unread[: end + 1]
            self._on_message(decode(line))

    def _end(self) -> None:
        if self.ended.is_set():
            return
        self.ended.set()
        self._loop.remove_reader(self._out)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _start(settings: int, held: int) -> subprocess.Popen[bytes]:
    """Start the program of a keeper process, which inherits these files."""
    # Not multiprocessing: that would import the user's main module again.
    command = [sys.executable, "-P", "-m", "asynq.worker.leases.keeper_main"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)}
    with signals_masked():
        return subprocess.Popen(  # noqa: S603
            [*command, str(log.getEffectiveLevel()), str(settings)],
            stdin=subprocess.PIPE,  # which ends with this process
            stdout=subprocess.PIPE,
            env=environment,
            pass_fds=(settings, held),
            bufsize=0,
        )
