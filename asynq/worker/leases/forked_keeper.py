"""A lease keeper process that a worker forks before it loads what only the worker needs.

Until one of the two changes a page of memory, both use the same one. So the modules that both load before the
fork take up memory once. A process can only be forked safely while it has a single thread, so every other
keeper is a program of its own: in a server that a program starts, and the one that replaces another.
"""

from __future__ import annotations

import fcntl
import gc
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from io import FileIO
from typing import TYPE_CHECKING, Never

from attrs import frozen
from msgspec.structs import replace

from asynq.runtime.child_signals import signals_masked
from asynq.runtime.excepthook import show_error
from asynq.worker.leases import keeper_main
from asynq.worker.leases.keeper_messages import KeeperSettings

if TYPE_CHECKING:
    from collections.abc import Callable

_STANDARD_STREAMS = 3
"""File descriptors of a program that are not its own. A closed one could be the next to be given out."""


@frozen
class ForkedKeeper:
    """A forked process that waits for its settings. Used in place of a subprocess.Popen."""

    pid: int
    stdin: socket.socket
    stdout: FileIO
    worker: int
    """The process that forked it."""

    def begin(self, level: int, settings: int, held: int) -> None:
        """Let it extend leases. See `keeper_main` for the arguments.

        Raises:
            OSError: the process has ended.
        """
        socket.send_fds(self.stdin, [f"{level}".encode()], [settings, held])

    def kill(self) -> None:
        """End the process."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until the process has ended."""
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


class _Waiting:
    keeper: ForkedKeeper | None = None


def fork_keeper(load: Callable[[], object]) -> None:
    """Fork a keeper process for the first server of this process, if that is safe and possible.

    Call it in a program of this package, before anything else is loaded.

    Args:
        load: loads further modules that both processes need.
    """
    load()
    # Elsewhere, libraries of the system may run threads that Python does not know of.
    if sys.platform == "linux" and threading.active_count() == 1:
        # The collector would change what it looks at, and so copy it.
        gc.freeze()
        with suppress(OSError):  # the server starts a program
            _Waiting.keeper = _fork()


def _fork() -> ForkedKeeper:
    ours, theirs = map(_above_streams, socket.socketpair())
    incoming, outgoing = map(_above_streams, os.pipe())
    worker = os.getpid()
    with signals_masked():
        pid = os.fork()
        if pid == 0:
            _run(theirs, outgoing)
    os.close(theirs)
    os.close(outgoing)
    return ForkedKeeper(pid, socket.socket(fileno=ours), FileIO(incoming), worker)


def forked_keeper() -> ForkedKeeper | None:
    """The process that waits for its settings, if there is one. It is returned once."""
    keeper, _Waiting.keeper = _Waiting.keeper, None
    # A fork of this process has a copy of the object, but is not the parent of that process.
    return keeper if keeper is not None and keeper.worker == os.getpid() else None


def discard_forked_keeper() -> None:
    """End the process that waits for its settings, if there is one, because no server needs it."""
    if (keeper := forked_keeper()) is not None:
        keeper.stdin.close()
        keeper.stdout.close()
        keeper.kill()
        keeper.wait()


def _above_streams(file: int | socket.socket) -> int:
    """Move a file to a descriptor that is not one of the standard streams."""
    descriptor = file if isinstance(file, int) else file.detach()
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _STANDARD_STREAMS)
    finally:
        os.close(descriptor)


def _run(requests: int, messages: int) -> Never:
    """Be the keeper process. The signals that it ignores are still blocked."""
    try:
        keeper_main.mask_signals()
        os.dup2(requests, 0)
        os.dup2(messages, 1)
        # The worker must be the only one to hold its files, such as the pipe to its supervisor.
        os.closerange(_STANDARD_STREAMS, os.sysconf("SC_OPEN_MAX"))
        with socket.socket(fileno=os.dup(0)) as connection:
            level, files, *_ = socket.recv_fds(connection, 16, 2)
        if level:
            settings, held = files
            keeper_main.keep(int(level), replace(KeeperSettings.read(settings), held=held))
    except Exception as error:  # noqa: BLE001 - nobody else reports it
        show_error(type(error), error, error.__traceback__)
    finally:
        os._exit(0)
