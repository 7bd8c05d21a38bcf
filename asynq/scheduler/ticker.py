"""Ticker: enqueues periodic tasks when they are due, catches up missed ticks, and calls the hooks."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from asynq.client import traces
from asynq.client.enqueue import task_info
from asynq.client.task import Task
from asynq.errors import AsynqError, BrokerUnavailable, DuplicateTaskError, TaskIDConflictError
from asynq.errors.base import ANY_FAILURE
from asynq.info import TaskInfo
from asynq.instants import instant_of
from asynq.protocol.answers import is_final
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import EnqueueTick, GetLastTick, RecordEnqueueEvent
from asynq.protocol.presence import EnqueueEvent
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.interval_loop import being_cancelled
from asynq.runtime.isolation import execute_isolated
from asynq.runtime.logs import get_logger
from asynq.runtime.sync_async import AwaitedCalls

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op, Ticked
    from asynq.protocol.presence import SchedulerEntry
    from asynq.scheduler.entries import Entry, Registry

log = get_logger("asynq.scheduler")

PreEnqueue = Callable[[Task], Awaitable[None] | None]
"""Called with a task before one of its ticks is enqueued, by this scheduler or another one."""
PostEnqueue = Callable[[Task, TaskInfo | None, AsynqError | None], Awaitable[None] | None]
"""Called with the result of a tick of this scheduler: the enqueued task, or the error that refused it."""

MAX_PAUSE = 60.0
"""Maximum seconds between two steps, so that a change of the clock is noticed."""
TICK_RETRY_DELAY = 1000
"""Milliseconds until a tick that the broker did not accept is retried."""
EVENT_RETENTION = 90 * 24 * 3600 * 1000
"""Milliseconds for which the enqueue events of an entry are kept after its last event."""
FAILED_ENTRY_DELAY = 60_000
"""Milliseconds until an entry that raised an error is retried."""
_CLOCK_MARGIN = 24 * 3600 * 1000
"""Milliseconds for which a tick is remembered after the next one, because clocks differ."""


@define(kw_only=True)
class TickHooks:
    """The hooks of a scheduler. Errors that they raise are logged and have no other effect."""

    before: PreEnqueue | None = None
    after: PostEnqueue | None = None
    calling: bool = field(init=False, default=False)
    """Whether a hook is running."""

    async def call_before(self, task: Task) -> None:
        """Call `pre_enqueue`, before a tick is enqueued."""
        if self.before is not None:
            await self._call("pre_enqueue", self.before, task)

    async def call_after(self, task: Task, answer: TaskInfo | AsynqError) -> None:
        """Call `post_enqueue`, with the result of a tick."""
        if self.after is not None:
            refused = isinstance(answer, AsynqError)
            outcome = (None, answer) if refused else (answer, None)
            await self._call("post_enqueue", self.after, task, *outcome)

    async def _call(self, name: str, hook: Callable[..., Any], *arguments: Any) -> None:
        self.calling = True
        try:
            with ExitForkedChild():
                answer = hook(*arguments)
                if inspect.isawaitable(answer):
                    await answer
        except asyncio.CancelledError:
            if being_cancelled():
                raise
            log.exception("%s failed for task type %r", name, arguments[0].type)
        except BaseException:
            log.exception("%s failed for task type %r", name, arguments[0].type)
        finally:
            self.calling = False


@define(eq=False)
class _Timer:
    """The state of one entry."""

    entry: Entry
    since: int
    """Time up to which all its ticks are done."""
    ready: bool
    """False until the broker has returned the last tick that any scheduler enqueued."""
    last: int | None = None
    """Its latest tick that was enqueued or refused, as far as is known here."""
    attempt: EnqueueTick | None = None
    """The operation of the current tick. It is resent until the broker has replied."""
    not_before: int = 0
    """Time of the next attempt, after one that the broker did not accept."""
    unpublished: bool = False
    """Whether building its record failed. This is logged once."""
    broken: bool = False
    """Whether it raised an error at the last attempt. This is logged once."""

    def due(self, now: int, catch_up: int) -> int | None:
        """The tick to enqueue now."""
        if not self.ready or self.entry.paused or now < self.not_before:
            return None
        return self.entry.ticks.due(self.since, now, catch_up)

    def next_step(self) -> int | None:
        """Time of the next step for this entry. None: never."""
        if self.entry.paused:
            return None
        if self.broken:
            return self.not_before
        tick = self.entry.ticks.after(self.since)
        return None if tick is None else max(tick, self.not_before)

    def finish(self, tick: int) -> None:
        """Mark the tick and all ticks before it as done."""
        self.since = self.last = tick
        self.attempt = None


class Ticker:
    """Each step enqueues at most one due tick of each entry, and returns the seconds until the next step.

    A tick that could not be enqueued is retried until the next tick of the entry is due, or until it is older
    than `catch_up`. Missed ticks up to this age are also enqueued if no scheduler ran when they were due.

    Args:
        broker: the broker.
        registry: the entries.
        catch_up: maximum age of missed ticks, in milliseconds.
        hooks: the hooks.
        new_id: creates ids of tasks.
    """

    def __init__(
        self,
        broker: Broker,
        registry: Registry,
        *,
        catch_up: int,
        hooks: TickHooks,
        new_id: Callable[[], str],
    ) -> None:
        self._broker = broker
        self._registry = registry
        self._catch_up = catch_up
        self._hooks = hooks
        self._new_id = new_id
        self.time = BrokerTime(broker.clock)
        """The broker's time, by which ticks are due."""
        self._adjusted = False
        """Whether the timers use the broker's time."""
        self._timers: dict[str, _Timer] = {}
        self._errors = ErrorReporter(log, "enqueueing periodic tasks")

    async def step(self) -> float | None:
        """Enqueue due ticks. Returns the seconds until the next one is due."""
        await self._sync_time()
        now = self.time.now()
        self._update_timers(now)
        await self._fetch_last_ticks(now)
        due: list[tuple[_Timer, EnqueueTick]] = []
        for timer in self._timers.values():
            try:
                if (tick := timer.due(now, self._catch_up)) is not None:
                    due.append((timer, await self._attempt(timer, tick)))
                timer.broken = timer.broken and now < timer.not_before
            except ANY_FAILURE as error:  # logged; one entry must not stop the others
                self._mark_broken(timer, error)
        if due:
            sent = self.time.mark()
            with traces.sending([attempt for _, attempt in due]) as sending:
                answers = await execute_isolated(AwaitedCalls(self._broker), sending.requests)
                sending.answered(answers)
            await self._handle_answers([timer for timer, _ in due], sending.requests, answers, sent)
        return self._pause(self.time.now())

    def described(self) -> tuple[SchedulerEntry, ...]:
        """The records of the entries for inspection. The broker's time must be known."""
        now = self.time.now()
        self._update_timers(now)
        seen: list[SchedulerEntry] = []
        for timer in self._timers.values():
            try:
                following = None if timer.entry.paused else timer.entry.ticks.after(max(timer.since, now))
                seen.append(timer.entry.described(last=timer.last, following=following))
            except ANY_FAILURE:
                if not timer.unpublished:
                    log.exception("the entry %r cannot be published for inspection", timer.entry.spec)
                timer.unpublished = True
        return tuple(seen)

    # --- internals ----------------------------------------------------------------------------------

    async def _sync_time(self) -> None:
        """Get the broker's time. Entries added before it is known miss no tick."""
        try:
            await self.time.sync(self._broker)
        except BrokerUnavailable:
            if not self.time.synced:
                self._update_timers(self.time.now())
            raise
        if not self._adjusted:
            self._adjusted = True
            for timer in self._timers.values():
                timer.since += self.time.offset

    def _mark_broken(self, timer: _Timer, error: BaseException) -> None:
        """Pause an entry that raised an error. The other entries continue."""
        if not timer.broken:
            text = "the entry %r for task type %r failed, retrying"
            log.error(text, timer.entry.spec, timer.entry.task.type, exc_info=error)
        timer.broken, timer.not_before = True, self.time.now() + FAILED_ENTRY_DELAY

    def _set_time_back(self, now: int, sent: int) -> None:
        """Set the time back to the broker's time: ticks that seemed to be past are still to come."""
        self.time.update(now, sent=sent)
        for timer in self._timers.values():
            timer.since = min(timer.since, now)

    def _update_timers(self, now: int) -> None:
        """Create timers of new entries and remove those of entries that are gone."""
        entries = self._registry.all()
        self._timers = {entry_id: self._timer_of(entry_id, entry, now) for entry_id, entry in entries.items()}

    def _timer_of(self, entry_id: str, entry: Entry, now: int) -> _Timer:
        timer = self._timers.get(entry_id)
        if timer is None:
            return _Timer(entry, now, ready=not self._catch_up)
        if timer.entry.kept != entry.kept:
            # A schedule that was changed or paused begins there: it has missed no ticks.
            return _Timer(entry, entry.since or now, ready=True, last=timer.last)
        return timer

    async def _fetch_last_ticks(self, now: int) -> None:
        """Get the last ticks of new entries from the broker. An entry that never ran has missed no ticks."""
        new = [timer for timer in self._timers.values() if not timer.ready]
        if not new:
            return
        ops = [GetLastTick(queue=timer.entry.queue, entry_id=timer.entry.id) for timer in new]
        for timer, last in zip(new, await execute_isolated(AwaitedCalls(self._broker), ops), strict=True):
            if isinstance(last, AsynqError):
                self._errors.failed(last)
                continue
            timer.ready, timer.last = True, last
            if last is not None:
                timer.since = max(last, now - self._catch_up - 1, timer.entry.since)

    async def _attempt(self, timer: _Timer, tick: int) -> EnqueueTick:
        if timer.attempt is None or timer.attempt.tick != tick:
            entry = timer.entry
            await self._hooks.call_before(entry.task)
            following = entry.ticks.after(tick)
            gap = 0 if following is None else following - tick
            timer.attempt = EnqueueTick(
                entry_id=entry.id,
                tick=tick,
                keep=gap + self._catch_up + _CLOCK_MARGIN,
                enqueue=entry.enqueue(self._new_id),
            )
        return timer.attempt

    async def _handle_answers(
        self,
        timers: Sequence[_Timer],
        attempts: Sequence[EnqueueTick],
        answers: Sequence[Ticked | AsynqError],
        sent: int,
    ) -> None:
        """Process the replies, then call the hooks."""
        outcomes: list[tuple[Task, TaskInfo | AsynqError]] = []
        events: list[Op[None]] = []
        for timer, attempt, answer in zip(timers, attempts, answers, strict=True):
            if isinstance(answer, TaskIDConflictError | DuplicateTaskError):
                log.info("a tick of %r was refused: %s", timer.entry.spec, answer)
                outcomes.append((timer.entry.task, answer))
            elif isinstance(answer, AsynqError) and is_final(answer):
                log.error("a tick of %r is dropped: %s", timer.entry.spec, answer)
                outcomes.append((timer.entry.task, answer))
            elif isinstance(answer, AsynqError):
                self._errors.failed(answer)
                timer.not_before = self.time.now() + TICK_RETRY_DELAY
                continue
            elif answer.early:
                self._set_time_back(attempt.tick - answer.early, sent)
                continue
            elif answer.enqueued is not None:
                outcomes.append(
                    (timer.entry.task, task_info(timer.entry.task, attempt.enqueue, answer.enqueued))
                )
                events.append(self._event(attempt))
            self._errors.worked()
            timer.finish(attempt.tick)
        await self._record(events)
        for task, outcome in outcomes:
            await self._hooks.call_after(task, outcome)

    def _event(self, attempt: EnqueueTick) -> RecordEnqueueEvent:
        at = instant_of(self.time.now())
        event = EnqueueEvent(task_id=attempt.enqueue.message.id, enqueued_at=at)
        return RecordEnqueueEvent(entry_id=attempt.entry_id, event=event, keep=EVENT_RETENTION)

    async def _record(self, events: Sequence[Op[None]]) -> None:
        """Record enqueue events. A failure is logged and does not delay the schedule."""
        if not events or not self._broker.capabilities.supports(RecordEnqueueEvent):
            return
        try:
            answers: Sequence[object] = await execute_isolated(AwaitedCalls(self._broker), events)
        except AsynqError as error:
            answers = [error.with_traceback(None)]
        for answer in answers:
            if isinstance(answer, AsynqError):
                log.warning("an enqueue event was not recorded: %s", answer)

    def _pause(self, now: int) -> float:
        if not all(timer.ready for timer in self._timers.values()):
            return TICK_RETRY_DELAY / 1000
        steps = []
        for timer in self._timers.values():
            try:
                step = timer.next_step()
            except ANY_FAILURE as error:  # logged; the other entries determine the pause
                self._mark_broken(timer, error)
                step = timer.not_before
            if step is not None:
                steps.append(step)
        if not steps:
            return MAX_PAUSE
        return min(max(min(steps) - now, 0) / 1000, MAX_PAUSE)
