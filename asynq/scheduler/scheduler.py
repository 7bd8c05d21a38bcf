"""Scheduler: enqueues periodic tasks that the program registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack
from zoneinfo import ZoneInfo

from asynq.client.options import EnqueueKeywords, options_of
from asynq.scheduler.base_scheduler import BaseScheduler
from asynq.scheduler.engine import SchedulerEngine

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta, tzinfo
    from random import Random

    from asynq.client.task import Task
    from asynq.protocol.broker import Broker
    from asynq.runtime.interval_loop import IntervalLoop
    from asynq.scheduler.ticker import PostEnqueue, PreEnqueue


class Scheduler(BaseScheduler):
    """Enqueues tasks at the times of their schedules. Any number of schedulers may run.

    Schedulers with the same entry (the same spec, task, options and location) share its ticks: each tick is
    enqueued once, on whichever machine, and the other schedulers take over if one of them fails. Ticks follow
    the broker's clock, so a wrong clock on one machine makes no tick early.

    The states of a scheduler are new, active and closed. It cannot be restarted. The constructor does not
    connect. A scheduler that was given a URL owns its broker and closes it.

    Hooks may be sync or async. Errors that they raise are logged.

    Args:
        broker: a broker, or the URL of one.
        location: the time zone of specs that do not name one.
        catch_up: enqueue ticks up to this old that were missed while no scheduler ran. None: do not catch up,
            except for the latest tick of an entry if a scheduler was delayed or the broker was unreachable.
        pre_enqueue: `pre_enqueue(task)` is called before each tick, by every scheduler that tries to enqueue
            it.
        post_enqueue: `post_enqueue(task, info, error)` is called by the scheduler that enqueued the tick with
            the enqueued task and None; or with None and the final error, such as DuplicateTaskError.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
        UnsupportedOperationError: the broker does not support periodic tasks, or `catch_up`.
    """

    def __init__(
        self,
        broker: Broker | str,
        *,
        location: tzinfo = ZoneInfo("UTC"),  # noqa: B008 - immutable
        catch_up: timedelta | None = None,
        pre_enqueue: PreEnqueue | None = None,
        post_enqueue: PostEnqueue | None = None,
    ) -> None:
        super().__init__(broker)
        self._engine = SchedulerEngine(
            self._broker,
            location=location,
            catch_up=catch_up,
            pre_enqueue=pre_enqueue,
            post_enqueue=post_enqueue,
        )

    def register(self, spec: str, task: Task, **options: Unpack[EnqueueKeywords]) -> str:
        """Enqueue a task at the times of a schedule from now on.

        May be called from any thread, also while the scheduler runs. If an error is raised, nothing is
        registered.

        Args:
            spec: a cron expression with 5 fields, a macro such as `@hourly`, or an interval such as
                `@every 30s`.
            task: the task. A task with a `task_id` replaces a finished task of that id, unless `on_conflict`
                says otherwise.
            **options: options as for `Client.enqueue`.

        Returns:
            The id of the entry. It is the same in every scheduler and after every restart. If an equal entry
            is registered already, the id gets the suffix -2, -3, and so on.

        Raises:
            CronError: the spec is malformed or is never due.
            ValueError: an option has an invalid value.
            TypeError: an argument has the wrong type, or an option is unknown.
        """
        return self._engine.registry.add(self._engine.entry(spec, task, options_of("register", options)))

    def unregister(self, entry_id: str) -> None:
        """Remove an entry, so that it is no longer enqueued.

        Args:
            entry_id: the id that `register` returned.

        Raises:
            EntryNotFoundError: there is no entry of this id.
        """
        self._engine.registry.remove(entry_id)

    def _loops(self, rng: Random) -> Sequence[IntervalLoop]:
        return self._engine.loops(rng)

    @property
    def _calls_user(self) -> bool:
        return self._engine.calls_user

    async def _finish(self, *, answered: bool) -> None:
        await self._engine.end(answered=answered)
