"""`HandlerProcess`: the worker's side of a handler process: start it, call it, kill it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from asynq.errors import AsynqError, HandlerProcessError
from asynq.handlers.processes.messages import (
    MAIN,
    BrokerReply,
    BrokerRequest,
    BrokerRequests,
    CallEnded,
    dumps,
    loads,
)
from asynq.handlers.processes.setup import Setup
from asynq.runtime.child_signals import signals_masked
from asynq.runtime.process_limits import NO_LIMITS
from asynq.runtime.stop_signals import signal_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker
    from asynq.runtime.process_limits import ProcessLimits

BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]);"
    " from asynq.handlers.processes.child import main; main(int(sys.argv[1]))"
)
EXIT_CHECK_INTERVAL = 1.0
"""Seconds between checks that a silent process still runs. Its children may keep its socket open after it
exits."""


class HandlerProcess:
    """A process that runs one handler at a time. `call` blocks; `kill` may be called from any thread."""

    def __init__(self, limits: ProcessLimits = NO_LIMITS, preload: bytes = b"") -> None:
        """Start the process. OSError if it cannot be started. The arguments are those of its Setup."""
        # Loaded with the first process, because few workers have any.
        from multiprocessing import Pipe

        # Not multiprocessing, which would always run the user's main module again.
        setup = Setup(limits=limits, preload=preload)
        # The names by which the handler process knows our main module.
        self._main_names = {setup.program.name, *MAIN}
        self._connection, theirs = Pipe()
        with theirs:
            handle = theirs.fileno()
            flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # noqa: SLF001
            # A new session: the terminal sends it no signals, and it is killed with all its children.
            with signals_masked():
                self._process = subprocess.Popen(  # noqa: S603
                    [sys.executable, *flags, "-P", "-c", BOOT, str(handle), json.dumps(sys.path)],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(handle,),
                    start_new_session=True,
                )
        with suppress(OSError):  # it has exited: the first call raises the error
            self._connection.send_bytes(dumps(setup))

    @property
    def alive(self) -> bool:
        """True while the process can take a call."""
        return self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def call(self, call: bytes, broker: Broker) -> CallEnded:
        """Send a pickled HandlerCall and wait for its result or its error.

        HandlerProcessError when the process ends during the call. The process cannot be reused after any
        error.
        """
        self._send(call)
        while True:
            match self._receive():
                case CallEnded() as ended:
                    return ended
                case BrokerRequest(op):
                    self._send(dumps(BrokerReply(_executed(partial(broker.execute, op)))))
                case BrokerRequests(ops):
                    self._send(dumps(BrokerReply(_executed(partial(broker.execute_many, ops)))))

    def load(self, data: bytes) -> Any:
        """Unpickle a message of the process."""
        return loads(data, self._main_names, lambda: "__main__")

    def kill(self) -> None:
        """Kill the process and all its children at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill the process and wait until it has exited."""
        self.kill()
        self._process.wait()
        self._connection.close()

    def _send(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except OSError:
            raise self._exit_error() from None

    def _receive(self) -> Any:
        try:
            while not self._connection.poll(EXIT_CHECK_INTERVAL):
                if not self.alive:
                    raise self._exit_error()
            data = self._connection.recv_bytes()
        except (EOFError, OSError):
            raise self._exit_error() from None
        return self.load(data)

    def _exit_error(self) -> HandlerProcessError:
        self.kill()
        code = self._process.wait()
        how = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with status {code}"
        return HandlerProcessError(f"the process of the handler {how}", code)


def _executed(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except AsynqError as error:
        return error
