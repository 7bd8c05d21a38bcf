"""`Run`: execute one delivery with its handler, within its timeout and deadline, to an outcome."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from asynq.client.enqueue import DEFAULT_TIMEOUT
from asynq.client.payload import encode_result
from asynq.client.task import Task
from asynq.errors import (
    HandlerError,
    ResultError,
    RevokeTask,
    SkipRetry,
    TaskDeadlineError,
    TaskTimeoutError,
)
from asynq.errors.text import error_text
from asynq.handlers.adapters import adapt_handler
from asynq.handlers.context import Context, RunControl, StopOutcome, current_run
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Outcome, Succeeded, is_inspectable
from asynq.instants import instant_of, seconds_of
from asynq.protocol.ops import Complete
from asynq.protocol.value_sizes import too_large
from asynq.runtime import timeouts
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from asynq.clock import Clock
    from asynq.handlers.adapters import Handler, HandlerAdapter
    from asynq.handlers.executors import Executors
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery, TaskMessage

E = TypeVar("E", bound=BaseException)

logger = get_logger("asynq.runner")

_DEFAULT_TIMEOUT_SECONDS = seconds_of(DEFAULT_TIMEOUT)
"""Timeout of a run whose task has neither a timeout nor a deadline, as in Go asynq."""

CANCEL_GRACE = 5.0
"""Seconds that a cancelled handler has to end."""

_CANCEL_ATTEMPTS = 2
"""How often a coroutine is cancelled within its grace: more than once in case it swallowed the first
cancellation, but rarely, because each further one also interrupts the cleanup of a coroutine that did not."""


class Run:
    """The run of one delivery. Belongs to the event loop it was created on and is executed once.

    A run ends in time: a cancelled handler (see `cancel`) has `grace` seconds to end. After that the run has
    its outcome without the handler. `finished` is set when the handler has really ended, which may be later;
    until then it occupies one slot of the server's concurrency.

    `clock` shows the broker's time (see BrokerTime). The deadline is compared with it.

    A handler that returns has succeeded, and its SkipRetry and RevokeTask count, even after it was cancelled.
    Any other error that it raises after that is attributed to the cancellation.
    """

    def __init__(
        self,
        delivery: Delivery,
        handler: Handler,
        *,
        broker: Broker,
        executors: Executors,
        clock: Clock,
        grace: float = CANCEL_GRACE,
    ) -> None:
        self.delivery = delivery
        self.finished = asyncio.Event()
        self._handler: HandlerAdapter = adapt_handler(handler)
        self._grace = grace
        self._clock = clock
        now = clock.now()
        self.started_at = instant_of(now)
        self._limit, self._timeout_error = _time_limit(delivery.message, now)
        self._control = RunControl(delivery, instant_of(self._limit), broker, executors)
        self.context = Context(self._control)
        self._work: asyncio.Task[Outcome] | None = None
        self._timer: timeouts.Timer | None = None
        self._loop = asyncio.get_running_loop()
        self._outcome: asyncio.Future[Outcome] | None = self._loop.create_future()
        """Dropped together with `_work` when the run has ended: the traceback of an error may refer to this
        object."""
        self._ended = False

    @property
    def now(self) -> int:
        """The broker's time in Unix milliseconds, with which deadlines are compared."""
        return self._clock.now()

    @property
    def seconds_left(self) -> float:
        """Seconds until the run is cancelled; negative when its time is over."""
        return (self._limit - self.now) / 1000

    def cancel(self, stop: Cancelled | Interrupted) -> None:
        """Cancel the handler. `stop` is the outcome of the run unless the handler still returns one.

        Before `execute`, the handler is not called at all. The first cancellation counts, except that a lost
        lease replaces any other: without its lease the run cannot be settled. After the end of the run this
        does nothing.
        """
        if self._control.stop is not None:
            if stop == Interrupted("lease_lost"):
                self._control.stop = stop
            return
        self._request_stop(stop)

    def abandon(self) -> None:
        """End the run now, without waiting for its cancelled handler. Does nothing after the run's end."""
        if self._work is None or self._work.done() or self._control.abandoned:
            return
        self._stop_timer()
        self._control.abandoned = True
        # An adapter that waits for a thread stops waiting; `finished` still waits for the thread itself.
        self._work.cancel()
        self._set_outcome(self._control.stop or Interrupted("shutdown"))

    def owns(self, task: asyncio.Task[Any]) -> bool:
        """True if the asyncio task is the handler's, or (from Python 3.12) one that the handler started."""
        if task is self._work:
            return True
        get_context = getattr(task, "get_context", None)
        return get_context is not None and get_context().get(current_run) is self.context

    async def execute(self) -> Outcome:
        """Call the handler and return the outcome, unless the run was cancelled or its time is over already.

        Whatever the handler does becomes an outcome. When the caller itself is cancelled, the handler is
        cancelled as at a shutdown, and CancelledError is raised without waiting for it.
        """
        if self.delivery.cancel:
            self.cancel(Cancelled("retry" if self.delivery.cancel == "retry" else "archive"))
        elif self.seconds_left <= 0:
            self._request_stop(Failed(self._timeout_error))
        awaited = self._outcome
        if self._control.stop is not None or awaited is None:
            self.finished.set()
            return self._control.stop or Interrupted("shutdown")
        self._work = self._loop.create_task(self._handle(), name=f"asynq {self.delivery.message.id}")
        self._work.add_done_callback(self._on_done)
        stop = partial(self._request_stop, Failed(self._timeout_error))
        self._timer = timeouts.Timer(self.seconds_left, stop)
        try:
            return await awaited
        except asyncio.CancelledError:
            self.cancel(Interrupted("shutdown"))
            raise

    async def _handle(self) -> Outcome:
        current_run.set(self.context)
        try:
            with ExitForkedChild():
                answer = await self._handler(self.context, Task.from_message(self.delivery.message))
                return _success(answer, self.delivery, self._control.broker)
        except (SkipRetry, RevokeTask) as verdict:
            return Failed(_as_exception(verdict))
        except asyncio.CancelledError:
            return self._control.stop or _unexpected_cancellation()
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the server
            return self._control.stop or Failed(_as_exception(error))

    def _request_stop(self, stop: StopOutcome) -> None:
        """Record why the run ends and end it: cancel, cancel again, abandon."""
        if self._ended or (self._work is not None and self._work.done()):
            return  # it has just ended: its own outcome counts
        self._control.stop = stop
        if self._work is not None:
            self._cancel_or_abandon(self._work, _CANCEL_ATTEMPTS)

    def _cancel_or_abandon(self, work: asyncio.Task[Outcome], attempts: int) -> None:
        self._stop_timer()
        if attempts:
            work.cancel()
            again = partial(self._cancel_or_abandon, work, attempts - 1)
            self._timer = timeouts.Timer(self._grace / _CANCEL_ATTEMPTS, again)
            return
        logger.warning(
            "task %s of queue %s still runs %g s after it was cancelled and keeps its slot until it ends",
            self.context.task_id,
            self.context.queue,
            self._grace,
        )
        self.abandon()

    def _on_done(self, work: asyncio.Task[Outcome]) -> None:
        self._stop_timer()
        self._ended, self._work = True, None
        if work.cancelled():
            self._set_outcome(self._control.stop or _unexpected_cancellation())
        elif error := work.exception():
            self._set_outcome(Failed(_as_exception(error)))
        else:
            self._set_outcome(work.result())
        self._finish_after_threads()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_outcome(self, outcome: Outcome) -> None:
        awaited, self._outcome = self._outcome, None
        if awaited is not None and not awaited.done():
            awaited.set_result(outcome)

    def _finish_after_threads(self) -> None:
        calls = self._control.calls
        running = next((call for call in calls if not call.done()), None)
        if running is None:
            self.finished.set()
        else:
            running.add_done_callback(lambda _: self._on_thread_done())

    def _on_thread_done(self) -> None:
        with suppress(RuntimeError):  # the loop was closed meanwhile: nothing waits for the run
            self._loop.call_soon_threadsafe(self._finish_after_threads)


def _time_limit(message: TaskMessage, now: int) -> tuple[int, TaskTimeoutError]:
    """The instant at which a run of this task must end (Unix ms), and the error it ends with."""
    seconds = message.timeout or (0 if message.deadline else _DEFAULT_TIMEOUT_SECONDS)
    by_timeout = now + seconds * 1000
    by_deadline = message.deadline * 1000
    if message.deadline and (not seconds or by_deadline <= by_timeout):
        passed = instant_of(by_deadline).isoformat()
        return by_deadline, TaskDeadlineError(f"the task's deadline {passed} has passed")
    return by_timeout, TaskTimeoutError(f"the task ran longer than its timeout of {seconds} s")


def _unexpected_cancellation() -> Failed:
    return Failed(HandlerError("the handler was cancelled, but not by its server"))


def _success(answer: Any, delivery: Delivery, broker: Broker) -> Outcome:
    """The outcome of a handler that returned, if the broker can store its return value."""
    try:
        result = encode_result(answer)
    except ResultError as error:
        return Failed(error)
    if delivery.message.retention > 0:
        complete = Complete(delivery=delivery, result=result)
        if refused := too_large(complete, broker.capabilities.max_value_bytes):
            return Failed(refused)
    return Succeeded(result)


def _as_exception(error: BaseException) -> Exception:
    if not is_inspectable(error):
        # Without the error as its cause, which would make this one uninspectable too.
        return HandlerError(f"the handler raised an error that cannot be inspected: {error_text(error)}")
    if isinstance(error, Exception):
        return _trim_traceback(error)
    wrapped = HandlerError(f"the handler raised {error_text(error)}")
    wrapped.__cause__ = _trim_traceback(error)
    return wrapped


def _trim_traceback(error: E) -> E:
    """The error with a traceback that starts at the handler: the run's frame refers to the error in turn."""
    trace = error.__traceback__
    if trace is not None and trace.tb_next is not None:
        BaseException.with_traceback(error, trace.tb_next)
    return error
