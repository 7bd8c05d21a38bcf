"""`Run`: the run of one delivery, within its timeout and deadline, to an outcome."""

from __future__ import annotations

import asyncio
import inspect
import math
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from asynq.client.task import Task
from asynq.errors import TaskCancelledError
from asynq.errors.tracebacks import without_first_frame
from asynq.handlers import traces
from asynq.handlers.adapters import AsyncAdapter, ThreadAdapter
from asynq.handlers.context import Context, current_run
from asynq.handlers.handler_results import as_exception, raised, returned, unexpected_cancellation
from asynq.handlers.outcome import Cancelled, Failed, Interrupted
from asynq.handlers.time_limit import time_limit, time_limit_error
from asynq.instants import instant_of
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.logs import get_logger
from asynq.runtime.thread_calls import ThreadCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context as Variables
    from datetime import datetime

    from asynq.handlers.adapters import Handler, HandlerAdapter
    from asynq.handlers.context import StopOutcome
    from asynq.handlers.executors import Executors
    from asynq.handlers.outcome import Outcome
    from asynq.handlers.resources import Resources
    from asynq.handlers.traces import RunTrace
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery
    from asynq.runtime.deadlines import Deadlines

T = TypeVar("T")

logger = get_logger("asynq.runner")

CANCEL_ATTEMPTS = 2
"""How often a coroutine is cancelled within its grace: more than once in case it swallowed the first
cancellation, but rarely, because each further one also interrupts the cleanup of a coroutine that did not."""


@frozen(kw_only=True)
class RunEnvironment:
    """What all runs of a worker share. Belongs to one event loop."""

    handler: HandlerAdapter
    broker: Broker
    executors: Executors
    resources: Resources
    grace: float
    """Seconds that a cancelled handler has to end."""
    loop: asyncio.AbstractEventLoop
    deadlines: Deadlines
    report: Callable[[Run, Outcome | None], None]
    """Called once when a run has its outcome, and again with None if it is finished later."""


class Run:
    """The run of one delivery. Belongs to the event loop of its environment and is started at most once.

    A run ends in time: a cancelled handler (see `cancel`) has the environment's `grace` to end. After that
    the run has its outcome without the handler. It is `finished` when the handler has really ended, which may
    be later; until then it occupies one slot of the server's concurrency.

    A handler that returns has succeeded, and its SkipRetry and RevokeTask count, even after it was cancelled.
    Any other error that it raises after that is attributed to the cancellation.

    Args:
        delivery: the delivery.
        environment: what it shares with other runs.
        now: the broker's time in Unix milliseconds.
    """

    started = False
    has_outcome = False
    finished = False
    stop: StopOutcome | None = None
    """Why the run was cancelled, as its outcome unless the handler still returns one. None: it was not."""
    abandoned = False
    """True if the run has its outcome although its handler did not end in time."""
    due = math.inf
    """When `expire` is called, by the clock of the event loop."""

    _task: asyncio.Task[None] | None = None
    """Runs the handler while it is a coroutine: it is async, or there are middlewares around it."""
    _task_began = False
    _call: ThreadCall[Any] | None = None
    """Runs the handler while it is a sync function without async middlewares."""
    _calls = 0
    """Calls in threads that the coroutine waits for, or has stopped waiting for."""
    _handler_ended = False
    _cancellations = 0
    _trace: RunTrace | None = None

    def __init__(self, delivery: Delivery, environment: RunEnvironment, now: int) -> None:
        self.delivery = delivery
        self.lease = delivery.lease
        self.begin = now
        self.limit = time_limit(delivery.message, now)
        """When the run must end, in Unix milliseconds by the broker's clock."""
        self.context = Context(self)
        self._shared = environment

    # --- what it is ---------------------------------------------------------------------------------

    @property
    def broker(self) -> Broker:
        """The broker that the task came from."""
        return self._shared.broker

    @property
    def executors(self) -> Executors:
        """Where sync functions run."""
        return self._shared.executors

    @property
    def resources(self) -> Resources:
        """What the server offers its handlers."""
        return self._shared.resources

    @property
    def started_at(self) -> datetime:
        """When the run began, in UTC."""
        return instant_of(self.begin)

    @property
    def deadline(self) -> datetime:
        """When the run must end, in UTC."""
        return instant_of(self.limit)

    def owns(self, task: asyncio.Task[Any]) -> bool:
        """True if the asyncio task is the handler's, or (from Python 3.12) one that the handler started."""
        if task is self._task:
            return True
        get_context = getattr(task, "get_context", None)
        context = None if get_context is None else get_context().get(current_run)
        return context is not None and context.control is self

    # --- its end from outside -----------------------------------------------------------------------

    def cancel(self, stop: Cancelled | Interrupted) -> None:
        """Cancel the handler. `stop` is the outcome of the run unless the handler still returns one.

        Before the start, the handler is not called at all. The first cancellation counts, except that a lost
        lease replaces any other: without its lease the run cannot be settled. After the end of the run this
        does nothing.
        """
        if self.stop is None:
            self._request_stop(stop)
        elif stop == Interrupted("lease_lost"):
            self.stop = stop

    def abandon(self) -> None:
        """End the run now, without waiting for its cancelled handler. Does nothing after the run's end."""
        if not self.started or self.has_outcome:
            return
        self.due = math.inf
        # The coroutine stops waiting for a thread. `finished` still waits for the thread itself.
        self.abandoned = True
        if self._task is not None:
            self._task.cancel()
        self._report(self.stop or Interrupted("shutdown"))

    def expire(self) -> None:
        """Cancel the handler because the time of the run is over, or go on with a cancellation."""
        if self.stop is None:
            self._request_stop(Failed(time_limit_error(self.delivery.message, self.begin, self.limit)))
        else:
            self._cancel_or_abandon()

    def shorten(self, timeout: int) -> None:
        """See RunControl."""
        less = self.limit - self.begin - timeout
        if less > 0:
            self.limit -= less
            if self.stop is None:
                self._shared.deadlines.set(self, self.due - less / 1000)

    def release(self) -> None:
        """Drop the context, which refers to this run in turn. For the end of everything."""
        del self.context

    def _request_stop(self, stop: StopOutcome) -> None:
        """Record why the run ends and end it: cancel, cancel again, abandon."""
        if self.has_outcome:
            return  # it has just ended: its own outcome counts
        self.stop = stop
        if self.started:
            self._cancel_or_abandon()

    def _cancel_or_abandon(self) -> None:
        grace = self._shared.grace
        if self._cancellations == CANCEL_ATTEMPTS:
            message = self.delivery.message
            logger.warning(
                "task %s of queue %s still runs %g s after it was cancelled and keeps its slot until it ends",
                message.id,
                message.queue,
                grace,
            )
            self.abandon()
            return
        self._cancellations += 1
        self._shared.deadlines.set(self, self._shared.loop.time() + grace / CANCEL_ATTEMPTS)
        if self._task is not None:
            self._task.cancel()
        elif self._call is not None and self.stop and self.executors.threads.withdraw(self._call):
            self._end(self.stop)

    # --- its course ---------------------------------------------------------------------------------

    def start(self, instant: float) -> None:
        """Call the handler, unless the run was cancelled or its time is over already.

        Whatever the handler does becomes an outcome. `instant`: the time of the event loop's clock.
        """
        if self.delivery.cancel:
            self.cancel(Cancelled("retry" if self.delivery.cancel == "retry" else "archive"))
        elif self.limit <= self.begin:
            self.expire()
        self.started = True
        if self.stop is not None:
            self._end(self.stop)
            return
        self._shared.deadlines.set(self, instant + (self.limit - self.begin) / 1000)
        if traces.consumer is not None:
            self._trace = traces.consumer.run(self.delivery)
        try:
            message = self.delivery.message
            handler, task = self._shared.handler.resolve(message.type), Task.from_message(message)
        except Exception as error:  # noqa: BLE001 - no handler, for example
            self._end(Failed(as_exception(without_first_frame(error))))
            return
        # By their types: isinstance is slow with abstract classes.
        if type(handler) is AsyncAdapter:
            self._start_task(handler.function, task)
        elif type(handler) is ThreadAdapter:
            self._start_call(handler.function, task)
        else:
            self._start_task(handler, task)

    def end_if_never_begun(self) -> None:
        """End the run if its asyncio task was cancelled before the first step, and so did not end it."""
        if self._task is not None and self._task.done() and not self._task_began:
            self._end(self.stop or unexpected_cancellation())

    def _start_task(self, handler: Handler, task: Task, variables: Variables | None = None) -> None:
        work = self._shared.loop.create_task(self._handle(handler, task), context=variables)
        if not self._handler_ended:  # as it has if tasks of this event loop take their first step at once
            self._task = work

    async def _handle(self, handler: Handler, task: Task) -> None:
        self._task_began = True
        current_run.set(self.context)
        if self._trace is not None:
            self._trace.enter()
        try:
            with ExitForkedChild():
                answer = await handler(self.context, task)
            self._end(returned(answer, self.delivery, self._shared.broker))
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the server
            # Nothing in this frame may refer to the error, whose frames refer to this one.
            self._end(raised(without_first_frame(error), self.stop))

    def _start_call(self, function: Handler, task: Task) -> None:
        variables = copy_context()
        variables.run(current_run.set, self.context)
        if self._trace is not None:
            variables.run(self._trace.enter)
        self._call = call = ThreadCall(partial(function, self.context, task), variables, self._call_ended)
        try:
            self.executors.threads.add(call)
        except RuntimeError:  # the server shuts down
            self._end(Interrupted("shutdown"))

    def _call_ended(self, call: ThreadCall[Any]) -> None:
        if call.error is not None:
            self._end(raised(call.error, self.stop))
            return
        answer = call.take()
        if answer is not None and inspect.isawaitable(answer) and not self.abandoned:
            # A lambda around async code, for example.
            self._call = None
            self._start_task(
                lambda _ctx, _task: answer, Task.from_message(self.delivery.message), call.context
            )
            self._shared.loop.call_soon(self.end_if_never_begun)
        else:
            self._end(returned(answer, self.delivery, self._shared.broker))

    def _end(self, outcome: Outcome) -> None:
        """The handler has ended, with this outcome."""
        self.due = math.inf
        self._task = self._call = None
        self._handler_ended = True
        self.finished = not self._calls
        if not self.has_outcome:
            self._report(outcome)
        elif self.finished:
            self._shared.report(self, None)

    def _report(self, outcome: Outcome) -> None:
        """The run has its outcome."""
        self.has_outcome = True
        if self._trace is not None:
            self._trace.end(outcome)
            self._trace = None
        self._shared.report(self, outcome)

    # --- threads for its coroutine ------------------------------------------------------------------

    async def call_in_thread(self, function: Callable[[], T], kill: Callable[[], None] | None = None) -> T:
        """See RunControl."""
        threads, end = self.executors.threads, self._shared.loop.create_future()

        def ended(_: ThreadCall[T]) -> None:
            if not end.done():
                end.set_result(None)
            self._call_over()

        call = ThreadCall(function, copy_context(), ended)
        try:
            threads.submit(call)
        except RuntimeError as error:
            self.stop = self.stop or Interrupted("shutdown")
            raise TaskCancelledError("the server's threads have ended") from error
        self._calls += 1
        while not end.done():
            try:
                await asyncio.wait((end,))
            except asyncio.CancelledError:
                if kill is not None:
                    kill()
                withdrawn = threads.withdraw(call)
                if withdrawn:
                    self._call_over()
                # A function that cannot be killed sees the cancellation through ctx. Wait for it as long as
                # the run does, so that the middlewares around it end after it.
                if withdrawn or self.stop is None or self.abandoned:
                    raise
        return call.take()

    def _call_over(self) -> None:
        self._calls -= 1
        if self._handler_ended and not self._calls:
            self.finished = True
            self._shared.report(self, None)
