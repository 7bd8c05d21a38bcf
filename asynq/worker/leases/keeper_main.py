"""Entry point of the lease keeper process, which ends with its worker."""

from __future__ import annotations

import os
import signal
import sys
import threading
from itertools import takewhile
from typing import BinaryIO

from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS, unmask_signals
from asynq.runtime.logs import configure
from asynq.worker.leases.extender_thread import ExtenderThread
from asynq.worker.leases.keeper_messages import (
    Hello,
    HoldLeases,
    KeeperMessage,
    Ready,
    ReleaseLeases,
    decode,
    encode,
)
from asynq.worker.leases.process_state import is_running


class Parent:
    """The worker process."""

    def __init__(self, pid: int, out: BinaryIO) -> None:
        self._pid = pid
        self._out = out
        self._lock = threading.Lock()

    def send(self, message: KeeperMessage) -> None:
        """Send a message to the worker. If the worker is gone, this process exits."""
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


def _is_whole(line: bytes) -> bool:
    """Whether this is a whole message, and not what a worker wrote of one before it died."""
    return line.endswith(b"\n")


def main() -> None:
    """Read messages from standard input and apply them, until the input ends."""
    for number in CHILD_MASKED_SIGNALS:
        # The keeper must keep running while the worker finishes its tasks.
        signal.signal(number, signal.SIG_IGN)
    unmask_signals()
    configure(int(sys.argv[1]))
    lines, out = sys.stdin.buffer, sys.stdout.buffer
    first = lines.readline()
    if not _is_whole(first):
        os._exit(0)
    hello = decode(first)
    if not isinstance(hello, Hello):
        sys.exit(f"expected a hello, not {hello}")
    parent = Parent(hello.parent, out)
    extender = ExtenderThread(hello.load_broker(), hello.duration, parent.send, enabled=parent.is_running)
    extender.start()
    parent.send(Ready())
    for line in takewhile(_is_whole, lines):
        match decode(line):
            case HoldLeases(held, seconds, now):
                extender.hold(dict(zip(held, seconds, strict=True)), now)
            case ReleaseLeases(leases):
                extender.release(leases)
    # Not sys.exit: an extension in progress must not keep the leases of a dead worker alive.
    os._exit(0)


if __name__ == "__main__":
    main()
