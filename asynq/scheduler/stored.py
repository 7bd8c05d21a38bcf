"""Schedules that are kept in the broker: what the methods of `Schedules` and `AsyncSchedules` do.

Each function is written once, for both (see `asynq.runtime.sync_async`).
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Unpack
from zoneinfo import ZoneInfo

from attrs import frozen
from msgspec.structs import replace

from asynq.checks import check_flag, check_name
from asynq.client.enqueue import compose, task_info
from asynq.client.options import EnqueueKeywords, Options, options_of
from asynq.client.task import Task
from asynq.errors import EntryNotFoundError
from asynq.ids import random_id
from asynq.instants import instant_of
from asynq.protocol.answers import unwrap
from asynq.protocol.ops import DeleteSchedule, GetLastTick, ListSchedules, PauseSchedule, Ping, WriteSchedule
from asynq.protocol.schedules import StoredSchedule
from asynq.scheduler.entries import Entry, enqueue_of, stored_entry_id, zone_of
from asynq.scheduler.kept_options import with_kept

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.info import TaskInfo
    from asynq.runtime.sync_async import BrokerCalls

_UTC = ZoneInfo("UTC")


@frozen(kw_only=True)
class ScheduleInfo:
    """A schedule that is kept in the broker, at the time it was read. Datetimes are aware, in UTC."""

    name: str
    spec: str
    location: str
    """Name of the time zone of a spec that does not name one."""
    task_type: str
    queue: str
    payload: bytes
    paused: bool
    next_run_at: datetime | None
    """None while it is paused, and if it cannot be read."""
    last_run_at: datetime | None
    """Its latest tick that a scheduler enqueued, or that was refused. Runs by hand are not ticks."""
    max_retry: int
    timeout: timedelta | None
    """Of one run; None if its tasks have a deadline instead."""
    retention: timedelta
    """How long its tasks are kept when they are completed; zero for not."""
    entry_id: str
    """The id for `Inspector.enqueue_events`."""


async def set_schedule(
    broker: BrokerCalls,
    name: str,
    spec: str,
    task: Task,
    *,
    location: ZoneInfo | None = None,
    keep: bool = False,
    **options: Unpack[EnqueueKeywords],
) -> None:
    """Keep a schedule in the broker, in place of the one of this name, if there is one.

    With `keep`, what is not given stays as it is in the schedule of this name: location, queue and other
    options, and the payload of a task of the same type. Otherwise it gets its default; location: UTC.

    Schedulers follow within their `sync_interval`. The ticks of a changed schedule count from then on; a
    paused one stays paused. The arguments are those of `Scheduler.register`. CronError, ValueError,
    TypeError.
    """
    check_name("name", name)
    check_flag("keep", keep)
    if location is not None and not (isinstance(location, ZoneInfo) and location.key):
        raise TypeError(f"location must be a zoneinfo.ZoneInfo with a key, not {location!r}")
    given = options_of("set", options)
    old = await _found(broker, name) if keep else None
    if old is not None:
        location = location or zone_of(old)
        given = Options(queue=old.message.queue) | task.options | given
    location = location or _UTC
    entry = Entry.of(spec, task, given, location)
    if (task.options | given).process_at is not None:
        raise ValueError("process_at has no meaning for a schedule")
    if (task.options | given).then:
        raise ValueError("then has no meaning for a schedule that is kept in the broker")
    request = compose(task, entry.over, str)
    schedule = StoredSchedule(
        name=name,
        spec=spec,
        location=location.key,
        message=request.message,
        process_in=request.process_in,
        unique=request.unique,
        on_conflict=request.on_conflict,
    )
    if old is not None:
        schedule = with_kept(schedule, old, (task.options | given).given(), has_payload=task.has_payload)
    await broker.execute(WriteSchedule(schedule=schedule))


async def pause(broker: BrokerCalls, name: str) -> None:
    """Enqueue nothing until `unpause`. Ticks of that time are never enqueued. EntryNotFoundError."""
    await _pause(broker, name, paused=True)


async def unpause(broker: BrokerCalls, name: str) -> None:
    """End the pause. EntryNotFoundError."""
    await _pause(broker, name, paused=False)


async def _pause(broker: BrokerCalls, name: str, *, paused: bool) -> None:
    check_name("name", name)
    if not await broker.execute(PauseSchedule(name=name, paused=paused)):
        raise EntryNotFoundError(name)


async def remove(broker: BrokerCalls, name: str) -> None:
    """Delete the schedule. Tasks that it enqueued remain. EntryNotFoundError."""
    check_name("name", name)
    if not await broker.execute(DeleteSchedule(name=name)):
        raise EntryNotFoundError(name)


async def run(broker: BrokerCalls, name: str) -> TaskInfo:
    """Enqueue its task now, also while it is paused; the task. Its ticks do not change.

    EntryNotFoundError; TaskIDConflictError and DuplicateTaskError as for `Client.enqueue`.
    """
    schedule = await _find(broker, name)
    request = replace(enqueue_of(schedule, random_id), process_in=None)
    return task_info(Task.from_message(request.message), request, await broker.execute(request))


async def get(broker: BrokerCalls, name: str) -> ScheduleInfo:
    """One schedule. EntryNotFoundError."""
    return (await _described(broker, [await _find(broker, name)]))[0]


async def list_schedules(broker: BrokerCalls) -> tuple[ScheduleInfo, ...]:
    """All schedules, sorted by name, with their last and their next runs."""
    return tuple(await _described(broker, await broker.execute(ListSchedules())))


async def _find(broker: BrokerCalls, name: str) -> StoredSchedule:
    schedule = await _found(broker, name)
    if schedule is None:
        raise EntryNotFoundError(name)
    return schedule


async def _found(broker: BrokerCalls, name: str) -> StoredSchedule | None:
    check_name("name", name)
    schedules = await broker.execute(ListSchedules())
    return next((schedule for schedule in schedules if schedule.name == name), None)


async def _described(broker: BrokerCalls, schedules: Sequence[StoredSchedule]) -> list[ScheduleInfo]:
    now = await broker.execute(Ping())
    looks = [
        GetLastTick(queue=schedule.message.queue, entry_id=stored_entry_id(schedule.name))
        for schedule in schedules
    ]
    ticks = await broker.execute_many(looks) if looks else []
    return [_info(schedule, unwrap(tick), now) for schedule, tick in zip(schedules, ticks, strict=True)]


def _info(schedule: StoredSchedule, last: int | None, now: int) -> ScheduleInfo:
    following = None
    if not schedule.paused:
        with suppress(ValueError):
            following = Entry.of_stored(schedule).ticks.after(now)
    return ScheduleInfo(
        name=schedule.name,
        spec=schedule.spec,
        location=schedule.location,
        task_type=schedule.message.type,
        queue=schedule.message.queue,
        payload=schedule.message.payload,
        paused=schedule.paused,
        next_run_at=None if following is None else instant_of(following),
        last_run_at=None if last is None else instant_of(last),
        max_retry=schedule.message.max_retry,
        timeout=timedelta(seconds=schedule.message.timeout) or None,
        retention=timedelta(seconds=schedule.message.retention),
        entry_id=stored_entry_id(schedule.name),
    )
