"""PeriodicTaskManager: a scheduler whose entries come from a config provider and may change while it runs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Unpack
from zoneinfo import ZoneInfo

from attrs import frozen

from asynq.checks import check_interval
from asynq.client.options import EnqueueKeywords, Options, options_of
from asynq.client.task import Task  # noqa: TC001 - attrs reads the annotation
from asynq.errors.base import ANY_FAILURE
from asynq.runtime.forks import ExitForkedChild
from asynq.runtime.interval_loop import IntervalLoop
from asynq.runtime.logs import get_logger
from asynq.runtime.threads import DaemonThreadPool, run_in_thread
from asynq.scheduler.base_scheduler import BaseScheduler
from asynq.scheduler.engine import SchedulerEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo
    from random import Random

    from asynq.protocol.broker import Broker
    from asynq.scheduler.entries import Entry
    from asynq.scheduler.ticker import PostEnqueue, PreEnqueue

log = get_logger("asynq.scheduler")


@frozen(init=False)
class PeriodicTaskConfig:
    """A periodic task, as a config provider returns it. It takes the arguments of `Scheduler.register`.

    Args:
        spec: the schedule.
        task: the task.
        **options: options as for `Client.enqueue`.

    Raises:
        ValueError: an option has an invalid value.
        TypeError: an option is unknown or has the wrong type.
    """

    spec: str
    task: Task
    options: Options

    def __init__(self, spec: str, task: Task, **options: Unpack[EnqueueKeywords]) -> None:
        self.__attrs_init__(spec, task, options_of("PeriodicTaskConfig", options))


ConfigProvider = Callable[[], Iterable[PeriodicTaskConfig] | Awaitable[Iterable[PeriodicTaskConfig]]]
"""Returns all periodic tasks that should be scheduled. A sync function is called in a thread."""


class PeriodicTaskManager(BaseScheduler):
    """A scheduler that gets its periodic tasks from a function, which it calls at intervals.

    It schedules the returned tasks and no others. Any change of a task takes effect at the next call,
    including changes of its headers and options. Unchanged tasks are not affected. Everything else is as in
    Scheduler.

    The first call must return a valid result, otherwise `start` raises. Later, if the provider raises, the
    schedule stays as it is until the next call. If a single config is invalid, this is logged and the other
    configs are scheduled.

    Args:
        broker: a broker, or the URL of one.
        config_provider: returns all periodic tasks, as PeriodicTaskConfig objects. It may be async; a sync
            function is called in a thread.
        sync_interval: time between two calls of the provider.
        location: as for Scheduler.
        catch_up: as for Scheduler.
        pre_enqueue: as for Scheduler.
        post_enqueue: as for Scheduler.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
        UnsupportedOperationError: the broker does not support periodic tasks, or `catch_up`.
    """

    def __init__(
        self,
        broker: Broker | str,
        config_provider: ConfigProvider,
        *,
        sync_interval: timedelta = timedelta(minutes=3),
        location: tzinfo = ZoneInfo("UTC"),  # noqa: B008 - immutable
        catch_up: timedelta | None = None,
        pre_enqueue: PreEnqueue | None = None,
        post_enqueue: PostEnqueue | None = None,
    ) -> None:
        if not callable(config_provider):
            raise TypeError(f"config_provider must be callable, not {type(config_provider).__name__}")
        check_interval("sync_interval", sync_interval)
        super().__init__(broker)
        self._provider = config_provider
        # Daemon threads: a provider that hangs does not keep the process from exiting.
        self._threads = DaemonThreadPool(1, "asynq-provider")
        self._interval = sync_interval.total_seconds()
        self._provider_calls = 0
        self._engine = SchedulerEngine(
            self._broker,
            location=location,
            catch_up=catch_up,
            pre_enqueue=pre_enqueue,
            post_enqueue=post_enqueue,
        )

    async def sync(self) -> None:
        """Call the provider now, independent of the interval. Raises what the provider raises."""
        entries = []
        for place, config in enumerate(await self._configs()):
            try:
                entries.append(self._entry(config))
            except (TypeError, ValueError) as error:
                log.error("config %d is not scheduled: %s", place, error)  # noqa: TRY400 - a message suffices
            except ANY_FAILURE:
                log.exception("config %d is not scheduled", place)
        self._follow(entries)

    async def _prepare(self) -> None:
        self._follow([self._entry(config) for config in await self._configs()])

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        return [
            *self._engine.loops(rng),
            IntervalLoop("calling the config provider", self._step, interval=self._interval, rng=rng),
        ]

    @property
    def _calls_user(self) -> bool:
        return self._provider_calls > 0 or self._engine.calls_user

    async def _finish(self, *, answered: bool) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        await self._engine.end(answered=answered)

    async def _step(self) -> float | None:
        await self.sync()
        return None

    async def _configs(self) -> list[PeriodicTaskConfig]:
        self._provider_calls += 1
        try:
            if inspect.iscoroutinefunction(self._provider):
                answer: Any = self._provider()
            else:
                answer = await run_in_thread(self._threads, self._provider)
            with ExitForkedChild():
                return list(await answer if inspect.isawaitable(answer) else answer)
        finally:
            self._provider_calls -= 1

    def _entry(self, config: PeriodicTaskConfig) -> Entry:
        if not isinstance(config, PeriodicTaskConfig):
            raise TypeError(f"a config must be a PeriodicTaskConfig, not {type(config).__name__}")
        return self._engine.entry(config.spec, config.task, config.options)

    def _follow(self, entries: Sequence[Entry]) -> None:
        added, removed = self._engine.registry.replace(entries)
        if added or removed:
            log.info("periodic tasks: %d added, %d removed", added, removed)
