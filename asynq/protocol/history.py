"""`DayStats`: the runs of a queue on one day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from datetime import date


class DayStats(Struct, frozen=True, kw_only=True):
    """Runs of one queue that ended on one day."""

    queue: str
    date: date
    """A day in UTC."""
    processed: int = 0
    """Runs that ended, including failures."""
    failed: int = 0
