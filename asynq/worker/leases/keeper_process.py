"""KeeperProcess: starts a lease keeper process, exchanges messages with it, and detects its end."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from asynq.runtime.child_signals import signals_masked
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import run_in_new_thread
from asynq.worker.leases.keeper_messages import KeeperMessage, decode, encode
from asynq.worker.leases.process_state import is_running

if TYPE_CHECKING:
    from collections.abc import Callable

log = get_logger("asynq.leases")

FLUSH_RETRY_INTERVAL = 0.02
"""Seconds until the next attempt to write to a full pipe."""
MAX_UNSENT_BYTES = 1 << 20
"""Bytes that a keeper process may leave unread before it counts as broken, unless one message is larger."""


class KeeperProcess:
    """A running keeper process. Belongs to the event loop that spawned it."""

    def __init__(self, process: subprocess.Popen[bytes], on_message: Callable[[KeeperMessage], None]) -> None:
        assert process.stdin is not None  # noqa: S101 - both are pipes, see spawn
        assert process.stdout is not None  # noqa: S101
        self._process = process
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        self._on_message = on_message
        self._unsent = bytearray()
        self._most_unsent = MAX_UNSENT_BYTES
        self._unread = bytearray()
        self._flushing: asyncio.Handle | None = None
        self._loop = asyncio.get_running_loop()
        self.ended = asyncio.Event()
        """Set when the process has ended or can no longer be used."""
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._loop.add_reader(self._out, self._read)

    @classmethod
    def spawn(cls, hello: bytes, on_message: Callable[[KeeperMessage], None]) -> KeeperProcess:
        """Start a keeper process. It sends Ready when it is ready.

        Raises:
            OSError: the process cannot be started.
        """
        # Not multiprocessing: that would import the user's main module again.
        command = [
            sys.executable,
            "-P",
            "-m",
            "asynq.worker.leases.keeper_main",
            str(log.getEffectiveLevel()),
        ]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
        }
        with signals_masked():
            process = subprocess.Popen(  # noqa: S603
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
            )
        keeper = cls(process, on_message)
        keeper._write(hello)
        return keeper

    def send(self, message: KeeperMessage) -> None:
        """Send a message without blocking. It is written before this returns, unless the pipe is full."""
        self._write(encode(message))

    def send_soon(self, message: KeeperMessage) -> None:
        """Send a message together with the next one, or in the next iteration of the event loop."""
        self._unsent += encode(message)
        if self._flushing is None:
            self._flushing = self._loop.call_soon(self._flush)

    @property
    def running(self) -> bool:
        """Whether the process can extend leases now. From any thread. Also detects an end not yet noticed."""
        return not self.ended.is_set() and is_running(self._process.pid)

    async def close(self) -> None:
        """End the process and wait until it is gone."""
        self._end()
        self._process.kill()
        await run_in_new_thread(self._process.wait)

    def _write(self, line: bytes) -> None:
        # The leases of all slots, which a new process is told at once, may be more than the maximum.
        self._most_unsent = max(self._most_unsent, 2 * len(line))
        self._unsent += line
        self._flush()

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        try:
            while self._unsent and not self.ended.is_set():
                del self._unsent[: os.write(self._in, self._unsent)]
        except BlockingIOError:
            if len(self._unsent) > self._most_unsent:
                self._end()
            else:
                self._flushing = self._loop.call_later(FLUSH_RETRY_INTERVAL, self._flush)
        except OSError:
            self._end()

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
        if self._flushing is not None:
            self._flushing.cancel()
        self._loop.remove_reader(self._out)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
