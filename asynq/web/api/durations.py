"""Durations as requests write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.durations import parse_duration
from asynq.instants import instant_of, milliseconds_of
from asynq.protocol.ops import Ping

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from asynq.protocol.broker import Broker


def read_duration(text: str) -> timedelta:
    """A duration such as "1h30m"; a whole number is in seconds. ValueError for any other text."""
    return parse_duration(f"{text}s" if text.isdecimal() else text)


def due_text(process_at: datetime | None, process_in: str | None) -> str:
    """When tasks are to be due, of which one is given: "in 1h30m"."""
    return f"at {process_at.isoformat()}" if process_at is not None else f"in {process_in}"


async def due_instant(broker: Broker, process_at: datetime | None, process_in: str | None) -> datetime:
    """When tasks are to be due, the same instant for all. ValueError unless one of the two is given."""
    if (process_at is None) is (process_in is None):
        raise ValueError("give either process_at or process_in")
    if process_at is not None:
        return process_at
    delay = milliseconds_of(read_duration(process_in or ""))
    return instant_of(await broker.aexecute(Ping()) + delay)
