"""Periodic tasks of the schedulers that are online, and what they enqueued."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - msgspec reads the annotations
from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.protocol.ops import ListEnqueueEvents
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.shapes import shown_data
from asynq.web.api.tasks import Page, Size  # noqa: TC001 - as datetime

if TYPE_CHECKING:
    from asynq.web.call import WebCall


class EntryItem(Struct, kw_only=True):
    """A periodic task."""

    id: str
    spec: str
    task_type: str
    task_payload: str
    options: list[str]
    """In the notation of Go asynq: 'Queue("low")'."""
    next_enqueue_at: datetime | None
    """Null: never again."""
    prev_enqueue_at: datetime | None
    """Null: not yet."""


class EntryList(Struct, kw_only=True):
    """The periodic tasks of all schedulers."""

    entries: list[EntryItem]


class EventsOfEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page of what an entry enqueued."""

    entry_id: str
    size: Size = 20
    page: Page = 1


class EventItem(Struct, kw_only=True):
    """A task that was enqueued."""

    task_id: str
    enqueued_at: datetime


class EventList(Struct, kw_only=True):
    """What an entry enqueued, latest first."""

    events: list[EventItem]


@endpoint("GET", "/scheduler_entries", asked=Nothing, answer=EntryList)
async def list_scheduler_entries(call: WebCall, asked: Nothing) -> EntryList:
    """The periodic tasks of all schedulers that are online, each once."""
    limit = call.web.settings.max_listed
    return EntryList(
        entries=[
            EntryItem(
                id=entry.id,
                spec=entry.spec,
                task_type=entry.task_type,
                task_payload=shown_data(entry.payload, limit)[0],
                options=list(entry.options),
                next_enqueue_at=entry.next_enqueue_at,
                prev_enqueue_at=entry.prev_enqueue_at,
            )
            for entry in await call.web.inspector.scheduler_entries()
        ]
    )


@endpoint("GET", "/scheduler_entries/{entry_id}/enqueue_events", asked=EventsOfEntry, answer=EventList)
async def list_enqueue_events(call: WebCall, asked: EventsOfEntry) -> EventList:
    """What a periodic task enqueued, latest first. The last 1,000 are kept."""
    offset = (asked.page - 1) * asked.size
    events = await call.web.broker.aexecute(
        ListEnqueueEvents(entry_id=asked.entry_id, offset=offset, limit=asked.size)
    )
    return EventList(
        events=[EventItem(task_id=each.task_id, enqueued_at=each.enqueued_at) for each in events]
    )
