"""The lease keeper process: it lives and dies with its worker, and shares neither its loop nor its GIL."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import BinaryIO

from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS, unmask_signals
from asynq.runtime.logs import configure
from asynq.worker.leases.extender import Extender
from asynq.worker.leases.keeper_messages import (
    Hello,
    HoldLeases,
    KeeperMessage,
    Ready,
    ReleaseLeases,
    read,
    write,
)
from asynq.worker.leases.process_state import is_running


class Parent:
    """The worker, as its keeper sees it."""

    def __init__(self, pid: int, out: BinaryIO) -> None:
        self._pid = pid
        self._out = out
        self._lock = threading.Lock()

    def tell(self, said: KeeperMessage) -> None:
        """Write a line to the worker; without a worker there is nothing left to do."""
        try:
            with self._lock:
                self._out.write(write(said))
                self._out.flush()
        except OSError:
            os._exit(0)

    def is_running(self) -> bool:
        """False while the worker is stopped (SIGSTOP): it does no work, so others may have its tasks."""
        if os.getppid() != self._pid:
            # A child of the worker may have inherited our pipe, so its end does not always tell.
            os._exit(0)
        return is_running(self._pid)


def main() -> None:
    """Obey the lines on standard input until it ends."""
    for number in CHILD_MASKED_SIGNALS:
        # The keeper stays while its worker finishes its tasks.
        signal.signal(number, signal.SIG_IGN)
    unmask_signals()
    configure(int(sys.argv[1]))
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    hello = read(lines.readline())
    if not isinstance(hello, Hello):
        sys.exit(f"expected a hello, not {hello}")
    parent = Parent(hello.parent, out)
    extender = Extender(hello.broker, hello.duration, parent.tell, permitted=parent.is_running)
    extender.start()
    parent.tell(Ready())
    for line in lines:
        match read(line):
            case HoldLeases(holds, now):
                extender.hold(holds, now)
            case ReleaseLeases(leases):
                extender.release(leases)
    # Not sys.exit: an extension under way must not keep a dead worker's leases alive.
    os._exit(0)


if __name__ == "__main__":
    main()
