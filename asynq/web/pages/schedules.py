"""Schedules: those that are kept in the broker, and the periodic tasks of the schedulers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.client.enqueue import DEFAULT_MAX_RETRY, DEFAULT_TIMEOUT
from asynq.web.api.endpoint import Nothing
from asynq.web.api.http import call_of
from asynq.web.api.scheduler_entries import EventsOfEntry, list_enqueue_events, list_scheduler_entries
from asynq.web.api.schedules import OneSchedule, get_schedule, list_schedules
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.call import WebCall

_LAST_RUNS = 100


async def schedules_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    stream = links_of(request)("live", "schedules")
    return page(request, call, "schedules.html", stream=stream, **await schedules_context(call, Nothing()))


async def schedules_context(call: WebCall, asked: Nothing) -> dict[str, Any]:
    """What the page shows."""
    schedules = (await list_schedules(call, asked)).schedules
    entries = (await list_scheduler_entries(call, asked)).entries
    # A scheduler names the entry of a deleted schedule for some seconds more.
    kept = call.web.kept_entries.intersection(each.id for each in entries)
    kept |= {each.entry_id for each in schedules}
    call.web.kept_entries = kept
    return {
        "schedules": schedules,
        "entries": [each for each in entries if each.id not in kept],
        "schedulers": bool(entries),
    }


async def edit_schedule_page(request: Request) -> Response:
    """The form of a schedule: of one that is kept, or of a new one."""
    call = call_of(request)
    name = given(request).get("name")
    schedule = None if name is None else await get_schedule(call, OneSchedule(name=name))
    return page(
        request,
        call,
        "edit_schedule.html",
        schedule=schedule,
        default_retries=DEFAULT_MAX_RETRY,
        default_timeout=DEFAULT_TIMEOUT.total_seconds(),
    )


async def last_runs_page(request: Request) -> Response:
    """What a periodic task enqueued."""
    call = call_of(request)
    entry = path_name(request, "entry_id")
    events = (await list_enqueue_events(call, EventsOfEntry(entry_id=entry, size=_LAST_RUNS))).events
    return page(request, call, "last_runs.html", entry=entry, events=events, name=given(request).get("name"))
