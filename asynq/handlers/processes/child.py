"""Main program of a handler process: run one call after another, and exit with the worker."""

from __future__ import annotations

import os
import pickle
import select
import signal
import threading
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from asynq.client.payload import encode_result, payload_decoder, progress_check
from asynq.errors import BrokerUnavailable, TaskCancelledError
from asynq.handlers import traces
from asynq.handlers.context import Context, current_run
from asynq.handlers.processes import main_module
from asynq.handlers.processes.messages import (
    MAIN,
    BrokerReply,
    BrokerRequest,
    BrokerRequests,
    CallEnded,
    HandlerCall,
    HandlerReturned,
    dumps,
    loads,
)
from asynq.handlers.processes.pickled_errors import HandlerRaised
from asynq.handlers.resources import Resources
from asynq.handlers.sync_middleware import surrounded
from asynq.handlers.task_logs import TaskLogFilter
from asynq.protocol.answers import unwrap
from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS, unmask_signals
from asynq.runtime.forks import ExitForkedChild, flush, signals_reset_in_children

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from asynq.client.task import Task
    from asynq.handlers.context import RunControl
    from asynq.handlers.processes.setup import Setup
    from asynq.protocol.broker import Broker, Watcher
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

ORPHAN_CHECK_INTERVAL = 1000
"""Milliseconds between checks that the worker is still alive."""

IDLE_BEFORE_FLUSH = 0.1
"""Seconds that a process is idle before its spans are exported."""

_decoders: dict[Any, Callable[[str, bytes], Any]] = {}
"""Payload decoders by declared type, kept between calls."""


class WorkerConnection:
    """A handler process's connection to its worker: receives calls, sends results, reaches the broker."""

    def __init__(self, connection: Connection, setup: Setup) -> None:
        self._connection = connection
        self._setup = setup
        self._turn = threading.Lock()
        self._calling = False
        self._calls = 0
        self._pid = os.getpid()
        self.resources = _ProcessResources(cast("Broker", self))

    def next_call(self) -> HandlerCall | HandlerRaised:
        """Wait for a call. Returns the error if its function cannot be loaded.

        EOFError when the worker is gone.
        """
        if traces.is_recorded() and not self._connection.poll(IDLE_BEFORE_FLUSH):
            # The process may be killed while it is idle.
            traces.flush(0)
        data = self._connection.recv_bytes()
        self._calling = True
        self._calls += 1
        try:
            call: HandlerCall = self._import(data)
        except BaseException as error:  # noqa: BLE001 - the user's modules are imported here
            return HandlerRaised.of(error)
        return call

    def preload(self) -> None:
        """Import the modules that calls are expected to need. A call raises the error of one that fails."""
        if self._setup.preload:
            with suppress(BaseException):
                self._import(self._setup.preload)

    def send_result(self, said: HandlerReturned | HandlerRaised) -> None:
        """Send the result or the error of the call."""
        # The process ends by being killed, which does not flush its streams.
        flush()
        with self._turn:
            self._calling = False
            limit = self._setup.limits.reached(self._calls)
            if limit:
                traces.flush(traces.FLUSH_TIME)
            self._connection.send_bytes(dumps(CallEnded(said, limit)))

    def execute(self, op: Op[Any]) -> Any:
        """Have the worker's broker execute an operation.

        TaskCancelledError after the end of the call, and in a process that the handler forked.
        """
        return unwrap(self._ask(BrokerRequest(op)))

    async def aexecute(self, op: Op[Any]) -> Any:
        """Async version of `execute`. It blocks, because the process has nothing else to do."""
        return self.execute(op)

    def execute_many(self, ops: Sequence[Op[Any]]) -> Any:
        """Have the worker's broker execute many operations; as `execute`."""
        return unwrap(self._ask(BrokerRequests(tuple(ops))))

    async def aexecute_many(self, ops: Sequence[Op[Any]]) -> Any:
        """Async version of `execute_many`; as `aexecute`."""
        return self.execute_many(ops)

    def watcher(self) -> Watcher:
        """Refused: a client in this process asks again and again instead."""
        raise BrokerUnavailable("a handler process has no watcher")

    def close(self) -> None:
        """Do nothing: the connection ends with the process."""

    async def aclose(self) -> None:
        """Do nothing: the connection ends with the process."""

    def _ask(self, request: BrokerRequest | BrokerRequests) -> Any:
        if os.getpid() != self._pid:
            raise TaskCancelledError("a process that the handler forked is not part of its run")
        with self._turn:
            if not self._calling:
                # From a thread that outlived the call: the worker no longer reads from the connection.
                raise TaskCancelledError("its run has ended")
            self._connection.send_bytes(dumps(request))
            answer: BrokerReply = loads(self._connection.recv_bytes(), MAIN, self._main)
        return answer.answer

    def _import(self, data: bytes) -> Any:
        """Unpickle, which imports modules of the user."""
        token = main_module.importing.set(True)
        try:
            with ExitForkedChild():
                return loads(data, MAIN, self._main)
        finally:
            main_module.importing.reset(token)

    def _main(self) -> str:
        return self._setup.program.load().__name__


class _ProcessResources(Resources):
    """Clients that reach the broker through the worker, and no state: the lifespan belongs to the worker."""

    @property
    def state(self) -> Any:
        """Refused."""
        raise RuntimeError(
            "ctx.state is not available with executor='process': what the lifespan made is in the worker;"
            " make what the handler needs in its module, for example in a function with functools.cache"
        )

    @state.setter
    def state(self, _: Any) -> None:
        pass


@frozen
class CalledRun:
    """What a context shows of a run in another process. A cancellation kills this process instead."""

    delivery: Delivery
    deadline: datetime
    broker: WorkerConnection
    resources: _ProcessResources
    stop: None = None


def run_call(call: HandlerCall, worker: WorkerConnection) -> HandlerReturned | HandlerRaised:
    """Call the function and return its result or its error."""
    run = CalledRun(call.delivery, call.deadline, worker, worker.resources)
    context = Context(cast("RunControl", run))
    context.progress_check = progress_check(call.progress)
    token = current_run.set(context)
    try:
        with ExitForkedChild(), traces.continued(call.trace):
            handle = surrounded(partial(_call_function, call), call.middlewares)
            return HandlerReturned(encode_result(handle(context, call.task)))
    except BaseException as error:  # noqa: BLE001 - whatever a handler raises is its failure
        return HandlerRaised.of(error)
    finally:
        current_run.reset(token)


def _call_function(call: HandlerCall, context: Context, task: Task) -> Any:
    return call.function(context, task if call.payload is None else _decoded(call.payload, task))


def _decoded(kind: Any, task: Task) -> Any:
    try:
        decode = _decoders.get(kind)
    except TypeError:  # not hashable, as some annotations are
        return payload_decoder(kind)(task.type, task.payload)
    if decode is None:
        decode = _decoders[kind] = payload_decoder(kind)
    return decode(task.type, task.payload)


def main(handle: int) -> None:
    """Serve the worker at the other end of the socket until it ends."""
    os.set_inheritable(handle, False)  # noqa: FBT003 - its only form
    with signals_reset_in_children(CHILD_MASKED_SIGNALS):
        for number in CHILD_MASKED_SIGNALS:
            # Not SIG_IGN, which programs started by the handler would inherit.
            signal.signal(number, lambda *_: None)
        unmask_signals()
        _serve(handle)


def _serve(handle: int) -> None:
    connection = Connection(handle)
    try:
        setup: Setup = pickle.loads(connection.recv_bytes())  # noqa: S301 - our own worker's
    except (EOFError, OSError):
        _kill_process_group()
    threading.Thread(
        target=_exit_with_worker, args=(handle, setup.parent), name="asynq-watch", daemon=True
    ).start()
    setup.apply_before_imports()
    worker = WorkerConnection(connection, setup)
    worker.preload()
    first = True
    while True:
        try:
            _serve_one(worker, setup if first else None)
            first = False
        except (EOFError, OSError):
            _kill_process_group()


def _serve_one(worker: WorkerConnection, setup: Setup | None) -> None:
    """Run one call. Does not keep its payload and error while waiting for the next call.

    `setup` is given for the first call: it configures logging from then on.
    """
    call = worker.next_call()
    if setup is not None:
        # After the handler's modules were imported, because their own configuration takes precedence.
        setup.apply_after_imports((TaskLogFilter(),))
    worker.send_result(call if isinstance(call, HandlerRaised) else run_call(call, worker))


def _exit_with_worker(handle: int, parent: int) -> None:
    """Kill this process when the worker has ended, together with all processes that the handler started."""
    poll = select.poll()
    poll.register(handle, 0)
    while os.getppid() == parent:
        if poll.poll(ORPHAN_CHECK_INTERVAL):
            break
    _kill_process_group()


def _kill_process_group() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
