"""The worker's end of a handler process: starting it, calling it, killing it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from multiprocessing import Pipe
from typing import TYPE_CHECKING, Any

from asynq.errors import AsynqError, HandlerProcessError
from asynq.logs import level_of_program
from asynq.processes.origin import Origin
from asynq.processes.protocol import Answer, Ask, Raised, Returned, dumps, loads
from asynq.signals import withheld

if TYPE_CHECKING:
    from asynq.broker import Broker

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv.pop());"
    " from asynq.processes.child import main;"
    " main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])"
)
GONE_CHECK = 1.0
"""Seconds between looks at whether a silent process still lives: what it started may hold its socket open."""


class HandlerProcess:
    """One process that runs handlers, one after the other. `call` blocks; `kill` may come from any thread."""

    def __init__(self) -> None:
        """Start it. OSError if it cannot be started."""
        # Not multiprocessing: that would run the user's main module again, needed or not.
        self._origin = Origin.here()
        self._connection, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            told = [
                str(handle),
                str(os.getpid()),
                str(level_of_program()),
                self._origin.dump(),
                json.dumps(sys.path),
            ]
            # A session of its own: no signals of the terminal, and killed with all it started.
            with withheld():
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, "-P", "-c", BOOT, *told],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(handle,),
                    start_new_session=True,
                )

    @property
    def alive(self) -> bool:
        """Whether it can take a call."""
        return self._process.poll() is None

    def call(self, call: bytes, broker: Broker) -> bytes | None:
        """Have it carry out a pickled Call: the result, or what the function raised.

        HandlerProcessError when the process ends under it; it is of no use any more then.
        """
        self._say(call)
        while True:
            match self._hear():
                case Returned(result):
                    return result
                case Raised() as raised:
                    raise raised.error()
                case Ask(op):
                    self._say(dumps(Answer(_executed(broker, op))))

    def kill(self) -> None:
        """End it at once, and all that it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, and wait until it is gone."""
        self.kill()
        self._process.wait()
        self._connection.close()

    def _say(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:
            raise self._gone() from None

    def _hear(self) -> Any:
        try:
            while not self._connection.poll(GONE_CHECK):
                if not self.alive:
                    raise self._gone()
            data = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._gone() from None
        return loads(data, self._origin.name, lambda: "__main__")

    def _gone(self) -> HandlerProcessError:
        self.kill()
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return HandlerProcessError(f"the process of the handler {how}", code)


def _executed(broker: Broker, op: Any) -> Any:
    try:
        return broker.execute(op)
    except AsynqError as error:
        return error
