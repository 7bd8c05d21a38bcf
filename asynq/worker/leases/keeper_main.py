"""Entry point of the lease keeper process, which ends with its worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
from functools import partial
from typing import BinaryIO, Never

from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS, unmask_signals
from asynq.runtime.logs import configure
from asynq.worker.leases.extender_thread import ExtenderThread
from asynq.worker.leases.held_leases import read_file
from asynq.worker.leases.keeper_messages import KeeperMessage, KeeperSettings, Ready, encode
from asynq.worker.leases.process_state import is_running


class Parent:
    """The worker process."""

    def __init__(self, pid: int, out: BinaryIO) -> None:
        self._pid = pid
        self._out = out
        self._lock = threading.Lock()

    def send(self, message: KeeperMessage) -> None:
        """Send a message to the worker. If the worker has ended, this process exits."""
        try:
            with self._lock:
                self._out.write(encode(message))
                self._out.flush()
        except OSError:
            os._exit(0)

    def is_running(self) -> bool:
        """Whether the worker is running. The leases of a stopped worker (SIGSTOP) are not extended."""
        if os.getppid() != self._pid:
            # A child of the worker may have inherited our pipe, which then stays open.
            os._exit(0)
        return is_running(self._pid)


def mask_signals() -> None:
    """Ignore the signals that must not end this process."""
    for number in CHILD_MASKED_SIGNALS:
        # The keeper must keep running while the worker finishes its tasks.
        signal.signal(number, signal.SIG_IGN)
    unmask_signals()


def keep(level: int, settings: KeeperSettings) -> Never:
    """Extend the leases that the worker holds, until standard input ends. Then this process exits.

    Args:
        level: of the log.
        settings: what the worker asks for.
    """
    configure(level)
    parent = Parent(settings.worker, open(1, "wb", closefd=False))  # noqa: SIM115
    extender = ExtenderThread(
        settings.load_broker(),
        settings.duration,
        partial(read_file, settings.held),
        parent.send,
        enabled=parent.is_running,
    )
    extender.start()
    parent.send(Ready())
    while os.read(0, 1024):
        pass
    # Not sys.exit: an extension in progress must not keep the leases of a dead worker alive.
    os._exit(0)


def main() -> None:
    """Run the keeper. The arguments are the level of the log and an inherited file with the settings."""
    mask_signals()
    level, settings_file = map(int, sys.argv[1:])
    keep(level, KeeperSettings.read(settings_file))


if __name__ == "__main__":
    main()
