"""Enqueues periodic tasks when they are due."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from attrs import define, field

from asynq.client.enqueue import compose, task_info
from asynq.client.task import Task
from asynq.errors import AsynqError, BrokerUnavailable, DuplicateTaskError, TaskIDConflictError
from asynq.errors.base import ANY_FAILURE
from asynq.info import TaskInfo
from asynq.instants import instant_of
from asynq.protocol.answers import is_final
from asynq.protocol.broker_time import BrokerTime
from asynq.protocol.ops import EnqueueTick, GetLastTick, RecordEnqueueEvent
from asynq.protocol.presence import EnqueueEvent
from asynq.runtime.backoff import ErrorReporter
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
"""Told of a task before one of its ticks is enqueued, perhaps by another scheduler."""
PostEnqueue = Callable[[Task, TaskInfo | None, AsynqError | None], Awaitable[None] | None]
"""Told how a tick that this scheduler decided went: the task it enqueued, or why it was refused."""

MAX_PAUSE = 60.0
"""Seconds; a clock that is set back or forth is noticed within."""
TICK_RETRY_DELAY = 1000
"""Milliseconds until a tick that the broker did not take is tried again."""
EVENT_RETENTION = 90 * 24 * 3600 * 1000
"""Milliseconds for which the events of an entry are kept after its last one."""
FAILED_ENTRY_DELAY = 60_000
"""Milliseconds until an entry is tried again that raised an error."""
_CLOCK_MARGIN = 24 * 3600 * 1000
"""Milliseconds a tick is remembered beyond the next one: clocks differ."""


@define(kw_only=True)
class TickHooks:
    """What the user wants to be told. What a hook raises is logged, and changes nothing."""

    before: PreEnqueue | None = None
    after: PostEnqueue | None = None
    calling: bool = field(init=False, default=False)
    """Whether a hook is under way."""

    async def tell_before(self, task: Task) -> None:
        """A tick is about to be enqueued."""
        if self.before is not None:
            await self._tell("pre_enqueue", self.before, task)

    async def tell_after(self, task: Task, answer: TaskInfo | AsynqError) -> None:
        """A tick was decided."""
        if self.after is not None:
            refused = isinstance(answer, AsynqError)
            outcome = (None, answer) if refused else (answer, None)
            await self._tell("post_enqueue", self.after, task, *outcome)

    async def _tell(self, name: str, hook: Callable[..., Any], *arguments: Any) -> None:
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
    """Where one entry stands."""

    entry: Entry
    since: int
    """Instant up to which all its ticks are done."""
    ready: bool
    """False while the last tick that any scheduler decided is still to be asked for."""
    last: int | None = None
    """Its latest tick that was decided, as far as is known here."""
    attempt: EnqueueTick | None = None
    """Made once for a tick and sent until it is answered, so that a lost reply does no harm."""
    not_before: int = 0
    """Instant of the next try, after one that the broker did not decide."""
    unseen: bool = False
    """It could not be shown, and that was logged."""
    broken: bool = False
    """It raised an error when it was last asked, and that was logged."""

    def due(self, now: int, catch_up: int) -> int | None:
        """The tick to enqueue now."""
        if not self.ready or now < self.not_before:
            return None
        return self.entry.ticks.due(self.since, now, catch_up)

    def next_step(self) -> int | None:
        """Instant from which there may be something to do; None for never."""
        if self.broken:
            return self.not_before
        tick = self.entry.ticks.after(self.since)
        return None if tick is None else max(tick, self.not_before)

    def decided(self, tick: int) -> None:
        """The tick is done, and all before it."""
        self.since = self.last = tick
        self.attempt = None


class Ticker:
    """Each step enqueues at most one tick of every entry that is due, and answers when to step again.

    A tick that could not be enqueued is tried again until the entry's next one is due, or for as long as
    `catch_up` (milliseconds) says. Up to then ticks are also caught up with that came while no scheduler ran.
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
        """By which ticks are due."""
        self._told = False
        """True once the timers go by the time that the broker told."""
        self._timers: dict[str, _Timer] = {}
        self._troubles = ErrorReporter(log, "enqueueing periodic tasks")

    async def step(self) -> float | None:
        """Enqueue what is due; seconds until something else is."""
        await self._follow_time()
        now = self.time.now()
        self._follow(now)
        await self._look_back(now)
        due: list[tuple[_Timer, EnqueueTick]] = []
        for timer in self._timers.values():
            try:
                if (tick := timer.due(now, self._catch_up)) is not None:
                    due.append((timer, await self._attempt(timer, tick)))
                timer.broken = timer.broken and now < timer.not_before
            except ANY_FAILURE as error:  # logged; one entry must not stop the others
                self._breaks(timer, error)
        if due:
            attempts = [attempt for _, attempt in due]
            sent = self.time.mark()
            answers = await execute_isolated(AwaitedCalls(self._broker), attempts)
            await self._note([timer for timer, _ in due], attempts, answers, sent)
        return self._pause(self.time.now())

    def described(self) -> tuple[SchedulerEntry, ...]:
        """The entries as they let themselves be seen. For that the time must have been told."""
        now = self.time.now()
        self._follow(now)
        seen: list[SchedulerEntry] = []
        for timer in self._timers.values():
            try:
                following = timer.entry.ticks.after(max(timer.since, now))
                seen.append(timer.entry.described(last=timer.last, following=following))
            except ANY_FAILURE:
                if not timer.unseen:
                    log.exception("the entry %r cannot be shown", timer.entry.spec)
                timer.unseen = True
        return tuple(seen)

    # --- the rest is its own ------------------------------------------------------------------------

    async def _follow_time(self) -> None:
        """Go by the broker's time. Entries that came while it could not be told miss no tick since."""
        try:
            await self.time.sync(self._broker)
        except BrokerUnavailable:
            if not self.time.synced:
                self._follow(self.time.now())
            raise
        if not self._told:
            self._told = True
            for timer in self._timers.values():
                timer.since += self.time.offset

    def _breaks(self, timer: _Timer, error: BaseException) -> None:
        """The entry raised an error: it rests, and the others go on."""
        if not timer.broken:
            said = "the entry %r for task type %r fails and will be tried again"
            log.error(said, timer.entry.spec, timer.entry.task.type, exc_info=error)
        timer.broken, timer.not_before = True, self.time.now() + FAILED_ENTRY_DELAY

    def _set_back(self, now: int, sent: int) -> None:
        """Go by the broker's time: what was taken for past is still to come."""
        self.time.update(now, sent=sent)
        for timer in self._timers.values():
            timer.since = min(timer.since, now)

    def _follow(self, now: int) -> None:
        """Have a timer for every entry that is registered, and no others."""
        entries = self._registry.all()
        self._timers = {
            entry_id: self._timers.get(entry_id) or _Timer(entry, now, ready=not self._catch_up)
            for entry_id, entry in entries.items()
        }

    async def _look_back(self, now: int) -> None:
        """Ask which ticks were decided before this scheduler came; an entry nobody ever ran missed none."""
        new = [timer for timer in self._timers.values() if not timer.ready]
        if not new:
            return
        ops = [GetLastTick(queue=timer.entry.queue, entry_id=timer.entry.id) for timer in new]
        for timer, last in zip(new, await execute_isolated(AwaitedCalls(self._broker), ops), strict=True):
            if isinstance(last, AsynqError):
                self._troubles.failed(last)
                continue
            timer.ready, timer.last = True, last
            if last is not None:
                timer.since = max(last, now - self._catch_up - 1)

    async def _attempt(self, timer: _Timer, tick: int) -> EnqueueTick:
        if timer.attempt is None or timer.attempt.tick != tick:
            entry = timer.entry
            await self._hooks.tell_before(entry.task)
            following = entry.ticks.after(tick)
            gap = 0 if following is None else following - tick
            timer.attempt = EnqueueTick(
                entry_id=entry.id,
                tick=tick,
                keep=gap + self._catch_up + _CLOCK_MARGIN,
                enqueue=compose(entry.task, entry.over, self._new_id),
            )
        return timer.attempt

    async def _note(
        self,
        timers: Sequence[_Timer],
        attempts: Sequence[EnqueueTick],
        answers: Sequence[Ticked | AsynqError],
        sent: int,
    ) -> None:
        """Take in the answers, then tell of them."""
        told: list[tuple[Task, TaskInfo | AsynqError]] = []
        events: list[Op[None]] = []
        for timer, attempt, answer in zip(timers, attempts, answers, strict=True):
            if isinstance(answer, TaskIDConflictError | DuplicateTaskError):
                log.info("a tick of %r was refused: %s", timer.entry.spec, answer)
                told.append((timer.entry.task, answer))
            elif isinstance(answer, AsynqError) and is_final(answer):
                log.error("a tick of %r is dropped: %s", timer.entry.spec, answer)
                told.append((timer.entry.task, answer))
            elif isinstance(answer, AsynqError):
                self._troubles.failed(answer)
                timer.not_before = self.time.now() + TICK_RETRY_DELAY
                continue
            elif answer.early:
                self._set_back(attempt.tick - answer.early, sent)
                continue
            elif answer.enqueued is not None:
                told.append((timer.entry.task, task_info(attempt.enqueue, answer.enqueued)))
                events.append(self._event(attempt))
            self._troubles.worked()
            timer.decided(attempt.tick)
        await self._record(events)
        for task, outcome in told:
            await self._hooks.tell_after(task, outcome)

    def _event(self, attempt: EnqueueTick) -> RecordEnqueueEvent:
        at = instant_of(self.time.now())
        event = EnqueueEvent(task_id=attempt.enqueue.message.id, enqueued_at=at)
        return RecordEnqueueEvent(entry_id=attempt.entry_id, event=event, keep=EVENT_RETENTION)

    async def _record(self, events: Sequence[Op[None]]) -> None:
        """Keep the history; what cannot be kept is not worth holding up the schedule."""
        if not events or not self._broker.capabilities.supports(RecordEnqueueEvent):
            return
        try:
            answers: Sequence[object] = await execute_isolated(AwaitedCalls(self._broker), events)
        except AsynqError as error:
            answers = [error.with_traceback(None)]
        for answer in answers:
            if isinstance(answer, AsynqError):
                log.warning("an enqueue event is lost: %s", answer)

    def _pause(self, now: int) -> float:
        if not all(timer.ready for timer in self._timers.values()):
            return TICK_RETRY_DELAY / 1000
        steps = []
        for timer in self._timers.values():
            try:
                step = timer.next_step()
            except ANY_FAILURE as error:  # logged; the pause is that of the others
                self._breaks(timer, error)
                step = timer.not_before
            if step is not None:
                steps.append(step)
        if not steps:
            return MAX_PAUSE
        return min(max(min(steps) - now, 0) / 1000, MAX_PAUSE)
