"""`Context`: what a handler can read about its run, and how it notices cancellation and writes results."""

from __future__ import annotations

from contextvars import ContextVar
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from asynq.client.payload import encode_payload, result_decoder
from asynq.errors import ResultError, TaskCancelledError, TaskDeadlineError, TaskTimeoutError
from asynq.handlers.outcome import Cancelled, Failed, Interrupted
from asynq.protocol.failures import without_failures
from asynq.protocol.followers import results_in
from asynq.protocol.ops import WriteResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from typing_extensions import TypeVar as TypeVarWithDefault

    from asynq.client.client import AsyncClient, Client
    from asynq.handlers.executors import Executors
    from asynq.handlers.resources import Resources
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery

    S_co = TypeVarWithDefault("S_co", covariant=True, default=object)
else:
    S_co = TypeVar("S_co", covariant=True)

T = TypeVar("T")

StopOutcome = Cancelled | Interrupted | Failed
"""Why a run was cancelled, as the outcome of the run unless its handler still returns one."""


class CancelReason(StrEnum):
    """Why a run was cancelled."""

    TIMEOUT = "timeout"
    DEADLINE = "deadline"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"
    OPERATOR = "operator"


class RunControl(Protocol):
    """A run, as its context and the adapters of its handler see it."""

    delivery: Delivery
    stop: StopOutcome | None
    """Why the run was cancelled, as its outcome unless the handler still returns one. None: it was not."""

    @property
    def deadline(self) -> datetime:
        """When the run must end, in UTC."""
        ...

    @property
    def broker(self) -> Broker:
        """The broker that the task came from."""
        ...

    @property
    def executors(self) -> Executors:
        """Where sync functions run."""
        ...

    @property
    def resources(self) -> Resources:
        """What the server offers its handlers."""
        ...

    def shorten(self, timeout: int) -> None:
        """Let the run end this many milliseconds after its start, if it does not end earlier."""
        ...

    async def call_in_thread(self, function: Callable[[], T], kill: Callable[[], None] | None = None) -> T:
        """Call a function in a thread and wait for it, in the coroutine of the handler.

        Args:
            function: the function.
            kill: makes the function end soon. Without it, nothing can stop a thread.

        Raises:
            TaskCancelledError: the server shuts down and has no threads any more.
            BaseException: what the function raises.
        """
        ...


class Context(Generic[S_co]):
    """One run of one task, for its handler and the middlewares around it. Usable from any thread.

    `Context[State]` is the context of a handler for servers whose lifespan yields a State. Nothing checks at
    run time that it does.
    """

    def __init__(self, control: RunControl) -> None:
        self.control = control
        """The run itself, not for handlers."""
        self.values: dict[str, Any] = {}
        """Values that middlewares pass to one another and to the handler; new for each run."""
        self.progress_check: Callable[[str, bytes], None] | None = None
        """TypeError for progress that the definition of the task does not declare; not for handlers."""

    @property
    def state(self) -> S_co:
        """What the lifespan of the server yielded, the same object for all runs; None without a lifespan.

        Raises:
            RuntimeError: the handler runs in a process of its own, which has no lifespan.
        """
        state: S_co = self.control.resources.state
        return state

    @property
    def client(self) -> AsyncClient:
        """A client of the broker that the task came from, for async handlers. It need not be closed."""
        return self.control.resources.client

    @property
    def client_sync(self) -> Client:
        """The same for sync handlers, which run in a thread or process. It need not be closed."""
        return self.control.resources.client_sync

    @property
    def task_id(self) -> str:
        """Id of the task, unique within its queue."""
        return self.control.delivery.message.id

    @property
    def queue(self) -> str:
        """Name of the queue of the task."""
        return self.control.delivery.message.queue

    @property
    def headers(self) -> Mapping[str, str]:
        """The task's headers."""
        headers = self.control.delivery.message.headers
        return without_failures(headers) if headers else headers

    @overload
    def passed_results(self) -> list[bytes]: ...

    @overload
    def passed_results(self, result: type[T]) -> list[T]: ...

    @overload
    def passed_results(self, result: object) -> list[Any]: ...

    def passed_results(self, result: Any = bytes) -> list[Any]:
        """The results of the tasks that this one follows, in their order; empty if it follows none.

        A task that follows one other has one result: `[invoice] = ctx.passed_results(Invoice)`.

        Args:
            result: the type of the results, as for `Client.wait`; None or bytes may be part of it for tasks
                that return None. By default bytes, as they are stored: empty for None.

        Returns:
            The results, decoded.

        Raises:
            ResultError: a result cannot be decoded, or was too large to be passed on.
            TypeError: the type cannot be decoded.
        """
        message = self.control.delivery.message
        decode = result_decoder(result)
        try:
            stored = results_in(message)
        except ValueError as error:
            raise ResultError(f"task {message.id!r}: {error}") from None
        return [
            decode(message.id, b"null" if one is None and result is not bytes else one or b"")
            for one in stored
        ]

    @property
    def retried(self) -> int:
        """Number of retries so far: 0 on the first run."""
        return self.control.delivery.message.retried

    @property
    def max_retry(self) -> int:
        """Retries that the task may spend after its first run."""
        return self.control.delivery.message.max_retry

    @property
    def lease_losses(self) -> int:
        """How often a worker was lost while it ran this task."""
        return self.control.delivery.lease_losses

    @property
    def deadline(self) -> datetime:
        """When this run is cancelled: the earlier of the task's deadline and its timeout, in UTC.

        It is an instant of the broker's clock, which may differ from the clock of this machine.
        """
        return self.control.deadline

    @property
    def cancelled(self) -> bool:
        """True once this run was cancelled."""
        return self.control.stop is not None

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why this run was cancelled; None if it was not."""
        match self.control.stop:
            case None:
                return None
            case Cancelled():
                return CancelReason.OPERATOR
            case Interrupted(why):
                return CancelReason(why)
            case Failed(TaskDeadlineError()):
                return CancelReason.DEADLINE
            case Failed():
                return CancelReason.TIMEOUT

    def raise_if_cancelled(self) -> None:
        """Raise an error if this run was cancelled. For sync handlers, which cannot be interrupted.

        A handler that returns instead reports that the work is done: the task is then settled as a success.

        Raises:
            TaskTimeoutError: the run exceeded its timeout or its deadline.
            TaskCancelledError: the run was cancelled for another reason.
        """
        match self.control.stop:
            case None:
                return
            case Failed(error):
                raise TaskTimeoutError(str(error))
        raise TaskCancelledError(str(self.cancel_reason))

    async def write_result(self, result: object) -> None:
        """Store progress or a result with the task. Each write replaces the one before.

        Args:
            result: any value that a handler may return.

        Raises:
            TypeError: the definition of the task declares another type of progress. Nothing is stored.
            LeaseLostError: this run no longer owns its task.
            ResultTooLargeError: the result has more bytes than the broker stores.
        """
        await self.control.broker.aexecute(self._writing(result))

    def write_result_sync(self, result: object) -> None:
        """`write_result` for sync handlers, which run in a thread. Blocks until the result is stored."""
        self.control.broker.execute(self._writing(result))

    def _writing(self, result: object) -> WriteResult:
        encoded = encode_payload(result, "result", verified=False)
        if self.progress_check is not None:
            self.progress_check(self.control.delivery.message.type, encoded)
        return WriteResult(lease=self.control.delivery.lease, result=encoded)


current_run: ContextVar[Context] = ContextVar("asynq_context")


def current_context() -> Context:
    """The context of the run that this code is part of; works in the thread of a sync handler too.

    Raises:
        LookupError: the code is not part of a run.
    """
    try:
        return current_run.get()
    except LookupError:
        raise LookupError("current_context() was called outside of any run of a task") from None
