"""Durations as requests write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.durations import parse_duration

if TYPE_CHECKING:
    from datetime import datetime, timedelta


def read_duration(text: str) -> timedelta:
    """A duration such as "1h30m"; a whole number is in seconds. ValueError for any other text."""
    return parse_duration(f"{text}s" if text.isdecimal() else text)


def due_text(process_at: datetime | None, process_in: str | None) -> str:
    """When tasks are to be due, of which one is given: "in 1h30m"."""
    return f"at {process_at.isoformat()}" if process_at is not None else f"in {process_in}"
