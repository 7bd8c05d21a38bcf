"""`StoredSchedule`: a periodic task that is kept in the broker, as its operations exchange it."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import Struct

from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.protocol.message import TaskMessage  # noqa: TC001 - msgspec reads the annotations
from asynq.protocol.ops.produce import Unique  # noqa: TC001 - as TaskMessage


class StoredSchedule(Struct, frozen=True, kw_only=True):
    """A schedule and the task that it enqueues, with all options of the enqueue."""

    name: str
    """Chosen by the user. There is one schedule of this name."""
    spec: str
    """The schedule, as `asynq.cron.parse` takes it."""
    location: str
    """Name of the time zone of a spec that does not name one."""
    message: TaskMessage
    """The task. An empty id stands for a new one at each tick."""
    process_in: int | None = None
    unique: Unique | None = None
    on_conflict: Literal["reject", "replace_finished"] = "reject"
    paused: bool = False
    """True while nothing is enqueued."""
    since: int = 0
    """Instant of its last change, or of the end of its last pause. Ticks up to it are not enqueued. 0: not
    known."""


def encode_schedule(schedule: StoredSchedule) -> bytes:
    """The record that a backend stores: JSON, with payloads in base64.

    `paused` and `since` are stored elsewhere. Equal schedules have equal records.
    """
    return msgspec.json.encode(msgspec.structs.replace(schedule, paused=False, since=0))


def decode_schedule(record: bytes | str, *, paused: bool, since: int) -> StoredSchedule | None:
    """The schedule of a record; None if it cannot be decoded."""
    try:
        schedule = msgspec.json.decode(record, type=StoredSchedule)
    except DECODE_ERRORS:
        return None
    return msgspec.structs.replace(schedule, paused=paused, since=since)
