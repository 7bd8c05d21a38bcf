"""`Periodic`: a periodic task, wherever its schedule is kept."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.errors import UnsupportedOperationError
from asynq.inspector.inspector import AsyncInspector
from asynq.scheduler.schedules import AsyncSchedules

if TYPE_CHECKING:
    from datetime import datetime

    from asynq.protocol.broker import Broker
    from asynq.scheduler.stored import ScheduleInfo


@frozen(kw_only=True)
class Periodic:
    """A schedule that is kept in the broker, or an entry of a running scheduler."""

    name: str
    spec: str
    zone: str
    task_type: str
    payload: bytes
    paused: bool
    next_run_at: datetime | None
    last_run_at: datetime | None
    entry_id: str
    stored: bool
    """Whether it is kept in the broker, and can be changed there."""


async def periodic(broker: Broker) -> list[Periodic]:
    """The schedules in the broker, then the entries of schedulers that are not among them."""
    stored: tuple[ScheduleInfo, ...] = ()
    with suppress(UnsupportedOperationError):
        stored = await AsyncSchedules(broker).list()
    found = [
        Periodic(
            name=each.name,
            spec=each.spec,
            zone=each.location,
            task_type=each.task_type,
            payload=each.payload,
            paused=each.paused,
            next_run_at=each.next_run_at,
            last_run_at=each.last_run_at,
            entry_id=each.entry_id,
            stored=True,
        )
        for each in stored
    ]
    known = {each.entry_id for each in stored}
    with suppress(UnsupportedOperationError):
        found += [
            Periodic(
                name=each.id,
                spec=each.spec,
                zone="",
                task_type=each.task_type,
                payload=each.payload,
                paused=False,
                next_run_at=each.next_enqueue_at,
                last_run_at=each.prev_enqueue_at,
                entry_id=each.id,
                stored=False,
            )
            for each in await AsyncInspector(broker).scheduler_entries()
            if each.id not in known
        ]
    return found
