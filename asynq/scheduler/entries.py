"""Entries of a scheduler: periodic tasks with ids that are the same in every scheduler."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import evolve, frozen
from msgspec.structs import replace

from asynq import cron
from asynq.client.enqueue import compose
from asynq.client.go_options import option_texts
from asynq.client.options import Options
from asynq.client.task import Task, check_task
from asynq.errors import EntryNotFoundError
from asynq.ids import random_id
from asynq.instants import EPOCH, in_utc, instant_of
from asynq.protocol.ops import Enqueue
from asynq.protocol.presence import MAX_SHOWN_PAYLOAD, SchedulerEntry
from asynq.scheduler.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import tzinfo

    from asynq.cron import Schedule
    from asynq.protocol.schedules import StoredSchedule

_NAMESPACE = UUID("51803083-f28a-447b-9345-4ecca785175c")
"""Namespace of the ids of entries."""


@frozen(kw_only=True)
class Entry:
    """A periodic task."""

    id: str
    spec: str
    task: Task
    over: Options
    """The options of the entry, which override those of the task."""
    queue: str
    ticks: Ticks
    kept: StoredSchedule | None = None
    """The schedule in the broker that the entry was made of, if it was."""

    @classmethod
    def of(cls, spec: str, task: Task, over: Options, location: tzinfo) -> Entry:
        """Validate the arguments and make an entry. Its id is a hash of all arguments.

        If the task has a `task_id` and no `on_conflict`, each task replaces the finished one before it.
        Otherwise, a schedule would end with its first archived task.

        Raises:
            CronError: the spec is malformed or is never due.
            ValueError: an option has an invalid value.
            TypeError: an argument has the wrong type.
        """
        if not isinstance(spec, str):
            raise TypeError(f"spec must be a str, not {type(spec).__name__}")
        check_task(task)
        asked = task.options | over
        if asked.task_id is not None and asked.on_conflict is None:
            over = over | Options(on_conflict="replace_finished")
        payload = task.payload.hex() if task.has_payload else None
        identity = [spec, str(location), task.type, payload, _plain(asked.given())]
        schedule = _parsed(spec, location)
        return cls(
            id=str(uuid5(_NAMESPACE, json.dumps(identity, sort_keys=True))),
            spec=spec,
            task=task,
            over=over,
            queue=compose(task, over, str).message.queue,
            ticks=Ticks(schedule),
        )

    @classmethod
    def of_stored(cls, schedule: StoredSchedule) -> Entry:
        """The entry of a schedule that is kept in the broker. Its id depends on the name alone.

        Raises:
            CronError: the spec is malformed or is never due.
            ValueError: the time zone is unknown.
        """
        location = zone_of(schedule)
        message = schedule.message
        return cls(
            id=stored_entry_id(schedule.name),
            spec=schedule.spec,
            task=Task.from_message(message),
            over=Options(queue=message.queue, max_retry=message.max_retry),
            queue=message.queue,
            ticks=Ticks(_parsed(schedule.spec, location)),
            kept=schedule,
        )

    @property
    def paused(self) -> bool:
        """True while its ticks are passed over."""
        return self.kept is not None and self.kept.paused

    @property
    def since(self) -> int:
        """Instant up to which its ticks are passed over; 0 if none is known."""
        return 0 if self.kept is None else self.kept.since

    def enqueue(self, new_id: Callable[[], str]) -> Enqueue:
        """The operation that enqueues its task. `new_id` creates the id, if the task has none of its own."""
        return compose(self.task, self.over, new_id) if self.kept is None else enqueue_of(self.kept, new_id)

    def described(self, *, last: int | None, following: int | None) -> SchedulerEntry:
        """The record of this entry for inspection, with its last tick and the next one."""
        return SchedulerEntry(
            id=self.id,
            spec=self.spec,
            task_type=self.task.type,
            payload=self.task.payload[:MAX_SHOWN_PAYLOAD],
            options=option_texts(self.task.options | self.over),
            next_enqueue_at=_instant(following),
            prev_enqueue_at=_instant(last),
        )


def zone_of(schedule: StoredSchedule) -> ZoneInfo:
    """The time zone of a schedule that is kept in the broker. ValueError if this machine does not know it."""
    try:
        return ZoneInfo(schedule.location)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise ValueError(f"the time zone {schedule.location!r} is unknown") from error


def stored_entry_id(name: str) -> str:
    """The id of the entry of a schedule that is kept in the broker."""
    return str(uuid5(_NAMESPACE, f"schedule {name}"))


def enqueue_of(schedule: StoredSchedule, new_id: Callable[[], str]) -> Enqueue:
    """The operation that enqueues the task of a schedule that is kept in the broker."""
    message = schedule.message
    return Enqueue(
        message=replace(message, id=message.id or new_id()),
        enqueue_id=random_id(),
        process_in=schedule.process_in,
        unique=schedule.unique,
        on_conflict=schedule.on_conflict,
    )


def _parsed(spec: str, location: tzinfo) -> Schedule:
    schedule = cron.parse(spec, location)
    if schedule.next_after(EPOCH) is None:
        raise cron.CronError(f"the schedule {spec!r} is never due: none of its months has such a day")
    return schedule


def _plain(value: Any) -> Any:
    """Convert a value to one that JSON can encode. Different values give different results."""
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, Task):
        return [value.type, value.payload.hex() if value.has_payload else None, _plain(value.options.given())]
    if isinstance(value, timedelta):
        return ["duration", value // timedelta(microseconds=1)]
    if isinstance(value, datetime):
        return ["instant", in_utc(value).isoformat()]
    return value


def _instant(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else instant_of(milliseconds)


class Registry:
    """The entries of one scheduler, by id. Usable from any thread."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._lock = threading.Lock()
        self.changed: Callable[[], None] = lambda: None
        """Called after every change, in the thread that makes it."""

    def __len__(self) -> int:
        return len(self._entries)

    def all(self) -> dict[str, Entry]:
        """Return a copy of the entries, by id."""
        with self._lock:
            return dict(self._entries)

    def add(self, entry: Entry) -> str:
        """Add an entry. Returns its id, with a suffix -2, -3, ... if an equal entry is registered already."""
        with self._lock:
            entry = _numbered(entry, self._entries)
            self._entries[entry.id] = entry
        self.changed()
        return entry.id

    def remove(self, entry_id: str) -> None:
        """Remove an entry.

        Raises:
            EntryNotFoundError: there is no entry of this id.
        """
        with self._lock:
            if self._entries.pop(entry_id, None) is None:
                raise EntryNotFoundError(entry_id)
        self.changed()

    def replace(self, entries: Iterable[Entry]) -> tuple[int, int]:
        """Replace all entries. Returns how many were added and how many were removed."""
        wanted: dict[str, Entry] = {}
        for entry in entries:
            numbered = _numbered(entry, wanted)
            wanted[numbered.id] = numbered
        with self._lock:
            before, self._entries = self._entries, wanted
        added, removed = len(wanted.keys() - before.keys()), len(before.keys() - wanted.keys())
        if added or removed or any(before[key].kept != entry.kept for key, entry in wanted.items()):
            self.changed()
        return added, removed


def _numbered(entry: Entry, present: Mapping[str, Entry]) -> Entry:
    name, number = entry.id, 1
    while name in present:
        number += 1
        name = f"{entry.id}-{number}"
    return evolve(entry, id=name)
