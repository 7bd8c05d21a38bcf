"""`Schedules` and `AsyncSchedules`: the functions of `asynq.scheduler.stored`, called or awaited."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.broker import require
from asynq.protocol.broker_owner import AsyncBrokerOwner, BrokerOwner
from asynq.protocol.ops import DeleteSchedule, ListSchedules, PauseSchedule, WriteSchedule
from asynq.runtime.sync_async import awaited, called
from asynq.scheduler import stored

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker

_OPERATIONS = (DeleteSchedule, ListSchedules, PauseSchedule, WriteSchedule)


class Schedules(BrokerOwner):
    """Periodic tasks that are kept in the broker, and changed while schedulers run.

    A ScheduleRunner enqueues their tasks. Usable from any thread, and again after a fork. An object that was
    given a URL owns its broker and closes it.

    Raises:
        BrokerURLError: the URL is malformed, or no backend is registered for its scheme.
        TypeError: `broker` is neither a broker nor a URL.
        UnsupportedOperationError: the broker does not keep schedules.
    """

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker)
        require(self._broker, *_OPERATIONS)

    set = called(stored.set_schedule)
    pause = called(stored.pause)
    unpause = called(stored.unpause)
    remove = called(stored.remove)
    run = called(stored.run)
    get = called(stored.get)
    list = called(stored.list_schedules)


class AsyncSchedules(AsyncBrokerOwner):
    """`Schedules`, awaited: the same methods with the same promises."""

    def __init__(self, broker: Broker | str) -> None:
        super().__init__(broker)
        require(self._broker, *_OPERATIONS)

    set = awaited(stored.set_schedule)
    pause = awaited(stored.pause)
    unpause = awaited(stored.unpause)
    remove = awaited(stored.remove)
    run = awaited(stored.run)
    get = awaited(stored.get)
    list = awaited(stored.list_schedules)
