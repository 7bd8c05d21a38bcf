"""Hooks: call the user's callbacks when runs start, end or fail, and log the errors that they raise."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import fields, frozen

from asynq.checks import check_callback
from asynq.client.task import Task
from asynq.errors import AsynqError, LeaseLostError, RateLimited, RevokeTask, SkipRetry, TaskCancelledError
from asynq.handlers.context import Context
from asynq.handlers.outcome import Cancelled, Failed, wraps
from asynq.protocol.ops import Archive, Requeue, Retry
from asynq.runtime import timeouts
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq.handlers.outcome import Outcome, Settlement
    from asynq.handlers.run import Run
    from asynq.handlers.runner import Report
    from asynq.monitoring.recorder import Recorder, RunOutcome
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Recover

log = get_logger("asynq.server")

OnRun = Callable[[Task, Context[Any]], Awaitable[None] | None]
"""Called with the task and the context of the run."""
OnError = Callable[[Exception, Task, Context[Any] | None], Awaitable[None] | None]
"""Called with the error, the task and the context of the run; None when the worker of the run was lost."""
HealthCheck = Callable[[AsynqError | None], Awaitable[None] | None]
"""Called with the broker's error; None when the broker answered."""


_TAKES = {"on_start": "(task, ctx)", "on_success": "(task, ctx)", "health_check": "(error)"}
"""Arguments of the callbacks whose arguments are not (error, task, ctx)."""


@frozen
class Callbacks:
    """The user's callbacks: each None, an async function, or a sync function that must not block.

    TypeError, naming the option, for a value that cannot be called with the callback's arguments.
    """

    on_error: OnError | None = None
    on_start: OnRun | None = None
    on_success: OnRun | None = None
    on_failure: OnError | None = None
    on_retry: OnError | None = None
    on_archive: OnError | None = None
    health_check: HealthCheck | None = None

    def __attrs_post_init__(self) -> None:
        for name in (field.name for field in fields(Callbacks)):
            check_callback(name, getattr(self, name), takes=_TAKES.get(name, "(error, task, ctx)"))

    @property
    def none_of_runs(self) -> bool:
        """True if no callback is about runs."""
        return all(
            getattr(self, field.name) is None for field in fields(Callbacks) if field.name.startswith("on_")
        )


class Hooks:
    """Calls the callbacks on the event loop, async ones in tasks of their own. Logs the errors they raise.

    Args:
        callbacks: the callbacks.
        recorder: is told of all runs. None: nobody records them.
    """

    def __init__(self, callbacks: Callbacks, recorder: Recorder | None = None) -> None:
        self._on = callbacks
        self.recorder = recorder
        self.heard = recorder is not None or not callbacks.none_of_runs
        """Whether anybody is told of runs. Most servers have nobody, and then nothing needs to be called."""
        self._pending: set[asyncio.Task[None]] = set()

    def started(self, runs: Iterable[Run], now: int) -> None:
        """Runs start, at this time of the broker."""
        if not self.heard:
            return
        for run in runs:
            message, since = run.delivery.message, run.delivery.pending_since
            if self.recorder:
                waited = max(now - since, 0) / 1000 if since else None
                self.recorder.run_started(message.queue, message.type, waited)
            self._notify("on_start", message, run.context)

    def runs_ended(self, reports: Iterable[Report], now: int) -> None:
        """Runs have ended that have an outcome now, at this time of the broker: the recorder is told."""
        if self.recorder is None:
            return
        for run, outcome in reports:
            if outcome is not None:
                message = run.delivery.message
                self.recorder.run_ended(message.queue, message.type, max(now - run.begin, 0) / 1000)

    def ended(self, outcome: Outcome, message: TaskMessage, ctx: Context | None) -> None:
        """A run has its outcome, which is not recorded yet."""
        if not self.heard:
            return
        error = error_of(outcome)
        if error is not None and not wraps(error, RateLimited):
            self.report(error, message, ctx)

    def report(self, error: Exception, message: TaskMessage, ctx: Context | None = None) -> None:
        """An error occurred with a task."""
        self._notify("on_error", message, ctx, error)

    def settled(self, op: Settlement, outcome: Outcome | None, ctx: Context | None) -> None:
        """The broker has recorded the end of a run."""
        if not self.heard:
            return
        message, error = op.delivery.message, error_of(outcome)
        if outcome is not None:
            self.became(message, recorded_as(op, outcome))
        if isinstance(op, Requeue):
            return
        if error is None:
            self._notify("on_success", message, ctx)
        elif isinstance(op, Retry | Archive):
            if isinstance(op, Archive) or op.failure:
                self._notify("on_failure", message, ctx, error)
            self._notify("on_archive" if isinstance(op, Archive) else "on_retry", message, ctx, error)

    def became(self, message: TaskMessage, outcome: RunOutcome) -> None:
        """This is what became of a run: only the recorder is told."""
        if self.recorder:
            self.recorder.run_settled(message.queue, message.type, outcome)

    def lost(self, recovery: Recover) -> None:
        """A task was recovered from a lost worker."""
        message = recovery.lost.message
        if self.recorder:
            self.recorder.task_recovered(message.queue, message.type, recovery.to)
        error = LeaseLostError(message.queue, message.id)
        then = "on_archive" if recovery.to == "archived" else "on_retry"
        for name in ("on_error", "on_failure", then):
            self._notify(name, message, None, error)

    def checked(self, error: AsynqError | None) -> None:
        """A health check of the broker has an answer."""
        if self._on.health_check is not None:
            self._call("health_check", partial(self._on.health_check, error))

    async def drain(self, seconds: float) -> None:
        """Wait at most `seconds` for running hooks, then cancel them."""
        if self._pending:
            await timeouts.wait(self._pending, seconds)
        for pending in self._pending:
            pending.cancel()

    def _notify(self, name: str, message: TaskMessage, ctx: Context | None, *error: Exception) -> None:
        callback = getattr(self._on, name)
        if callback is not None:
            what = f"{name} for task {message.id!r} of queue {message.queue!r}"
            self._call(what, lambda: callback(*error, Task.from_message(message), ctx))

    def _call(self, what: str, callback: Callable[[], Awaitable[None] | None]) -> None:
        try:
            with ExitForkedChild():
                answer = callback()
        except BaseException:
            log.exception("%s failed", what)
            return
        if inspect.isawaitable(answer):
            pending = asyncio.create_task(self._finish(what, answer))
            self._pending.add(pending)
            pending.add_done_callback(self._pending.discard)

    async def _finish(self, what: str, answer: Awaitable[None]) -> None:
        try:
            with ExitForkedChild():
                await answer
        except asyncio.CancelledError:
            raise
        except BaseException:
            log.exception("%s failed", what)


def recorded_as(op: Settlement, outcome: Outcome) -> RunOutcome:
    """What recorders are told of a run that was settled by this operation."""
    if isinstance(outcome, Cancelled):
        return "cancelled"
    if isinstance(op, Requeue):
        return "requeued"
    if isinstance(op, Retry):
        return "retried" if op.failure else "postponed"
    if isinstance(op, Archive):
        return "skipped" if isinstance(outcome, Failed) and wraps(outcome.error, SkipRetry) else "archived"
    return "revoked" if isinstance(outcome, Failed) and wraps(outcome.error, RevokeTask) else "done"


def error_of(outcome: Outcome | None) -> Exception | None:
    """The error of a run; None if it had none or another cause ended it."""
    if isinstance(outcome, Failed):
        return outcome.error
    return TaskCancelledError("an operator requested it") if isinstance(outcome, Cancelled) else None
