"""Schedules that are kept in the broker: periodic tasks that are changed while schedulers run."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct

from asynq.client.enqueue import DEFAULT_TIMEOUT
from asynq.client.task import Task
from asynq.errors import EntryNotFoundError
from asynq.scheduler.schedules import AsyncSchedules
from asynq.web.api.durations import read_duration
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.errors import RequestError
from asynq.web.api.shapes import DataFacts, shown_data

if TYPE_CHECKING:
    from asynq.scheduler.stored import ScheduleInfo
    from asynq.web.call import WebCall


_EMPTY = {"timeout": DEFAULT_TIMEOUT, "retention": timedelta(0)}
"""What durations are that are given without a text."""


class ScheduleItem(Struct, kw_only=True):
    """A schedule."""

    name: str
    spec: str
    location: str
    """Time zone of a spec that does not name one."""
    task_type: str
    queue: str
    payload: str
    payload_facts: DataFacts
    paused: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    """Its latest tick. Runs by hand are not ticks."""
    max_retry: int
    timeout_seconds: float | None
    """Null if its runs have a deadline instead."""
    retention_seconds: float
    entry_id: str


class ScheduleList(Struct, kw_only=True):
    """All schedules, sorted by name."""

    schedules: list[ScheduleItem]


class OneSchedule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a schedule."""

    name: str


class SetSchedule(OneSchedule, frozen=True, kw_only=True):
    """A schedule that is to be kept."""

    existing: Literal["replace", "change", "refuse"] = "replace"
    """What becomes of the schedule of this name: "replace" it as a whole; "change" what is given and leave
    the rest, where it is an error if there is none; or "refuse", where it is an error if there is one."""
    spec: str
    """Such as "*/5 * * * *", "@hourly" or "@every 30s"."""
    task_type: str
    payload: str | None = None
    """Text."""
    queue: str | None = None
    """By default "default"."""
    location: str | None = None
    """Time zone of a spec that does not name one. By default "UTC"."""
    max_retry: int | None = None
    timeout: str | None = None
    """A duration such as "30m"; "" for the default."""
    retention: str | None = None
    """How long a completed task is kept, such as "24h"; "" for not."""


class EnqueuedTask(Struct, kw_only=True):
    """A task that was enqueued."""

    queue: str
    task_id: str


@endpoint("GET", "/schedules", asked=Nothing, answer=ScheduleList)
async def list_schedules(call: WebCall, asked: Nothing) -> ScheduleList:
    """The schedules that are kept in the broker, with their last and their next runs."""
    limit = call.web.settings.max_listed
    found = await AsyncSchedules(call.web.broker).list()
    return ScheduleList(schedules=[_schedule(each, limit) for each in found])


@endpoint("GET", "/schedules/{name}", asked=OneSchedule, answer=ScheduleItem)
async def get_schedule(call: WebCall, asked: OneSchedule) -> ScheduleItem:
    """One schedule that is kept in the broker."""
    found = await AsyncSchedules(call.web.broker).get(asked.name)
    return _schedule(found, call.web.settings.max_shown)


def _says_set(asked: SetSchedule) -> str:
    what = f"enqueue {asked.task_type!r} at {asked.spec!r}"
    if asked.existing == "change":
        return f"change schedule {asked.name!r}: {what}"
    return f"{what}, as schedule {asked.name!r}"


@endpoint(
    "PUT",
    "/schedules/{name}",
    asked=SetSchedule,
    answer=NoneType,
    says=_says_set,
)
async def set_schedule(call: WebCall, asked: SetSchedule) -> None:
    """Keep a schedule in the broker: a new one, or in place of the one of its name."""
    schedules = AsyncSchedules(call.web.broker)
    location = None if asked.location is None else _zone(asked.location)
    task = Task(asked.task_type) if asked.payload is None else Task(asked.task_type, asked.payload)
    given: dict[str, Any] = {"queue": asked.queue, "max_retry": asked.max_retry}
    for name in ("timeout", "retention"):
        text = getattr(asked, name)
        given[name] = None if text is None else read_duration(text) if text else _EMPTY[name]
    options = {name: value for name, value in given.items() if value is not None}
    if asked.existing != "replace":
        exists = await _exists(schedules, asked.name)
        if asked.existing == "refuse" and exists:
            raise RequestError(409, "schedule_exists", f"there is a schedule {asked.name!r} already")
        if asked.existing == "change" and not exists:
            raise EntryNotFoundError(asked.name)
    keep = asked.existing == "change"
    await schedules.set(asked.name, asked.spec, task, location=location, keep=keep, **options)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        raise ValueError(f"the time zone {name!r} is unknown") from None


async def _exists(schedules: AsyncSchedules, name: str) -> bool:
    try:
        await schedules.get(name)
    except EntryNotFoundError:
        return False
    return True


@endpoint(
    "DELETE",
    "/schedules/{name}",
    asked=OneSchedule,
    answer=NoneType,
    says=lambda asked: f"delete schedule {asked.name!r}: its task is not enqueued any more",
)
async def delete_schedule(call: WebCall, asked: OneSchedule) -> None:
    """Delete a schedule. Tasks that it enqueued remain."""
    await AsyncSchedules(call.web.broker).remove(asked.name)


@endpoint(
    "POST",
    "/schedules/{name}:pause",
    asked=OneSchedule,
    answer=NoneType,
    says=lambda asked: f"pause schedule {asked.name!r}: its ticks are left out until it is resumed",
)
async def pause_schedule(call: WebCall, asked: OneSchedule) -> None:
    """Enqueue nothing until the schedule is resumed. Its ticks of that time are never enqueued."""
    await AsyncSchedules(call.web.broker).pause(asked.name)
    call.noted.undo = lambda: AsyncSchedules(call.web.broker).unpause(asked.name)


@endpoint(
    "POST",
    "/schedules/{name}:resume",
    asked=OneSchedule,
    answer=NoneType,
    says=lambda asked: f"resume schedule {asked.name!r}",
)
async def resume_schedule(call: WebCall, asked: OneSchedule) -> None:
    """End the pause of a schedule."""
    await AsyncSchedules(call.web.broker).unpause(asked.name)
    call.noted.undo = lambda: AsyncSchedules(call.web.broker).pause(asked.name)


@endpoint(
    "POST",
    "/schedules/{name}:run",
    asked=OneSchedule,
    answer=EnqueuedTask,
    says=lambda asked: f"enqueue the task of schedule {asked.name!r} now",
)
async def run_schedule(call: WebCall, asked: OneSchedule) -> EnqueuedTask:
    """Enqueue the task of a schedule now. Its ticks do not change."""
    task = await AsyncSchedules(call.web.broker).run(asked.name)
    call.noted.changed = 1
    call.noted.remark = f"it is task {task.id!r} of queue {task.queue!r}"
    return EnqueuedTask(queue=task.queue, task_id=task.id)


def _schedule(schedule: ScheduleInfo, limit: int) -> ScheduleItem:
    payload, facts = shown_data(schedule.payload, limit)
    return ScheduleItem(
        name=schedule.name,
        spec=schedule.spec,
        location=schedule.location,
        task_type=schedule.task_type,
        queue=schedule.queue,
        payload=payload,
        payload_facts=facts,
        paused=schedule.paused,
        next_run_at=schedule.next_run_at,
        last_run_at=schedule.last_run_at,
        max_retry=schedule.max_retry,
        timeout_seconds=None if schedule.timeout is None else schedule.timeout.total_seconds(),
        retention_seconds=schedule.retention.total_seconds(),
        entry_id=schedule.entry_id,
    )
