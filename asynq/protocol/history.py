"""`DayStats`: the runs of a queue on one day."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from datetime import date


@frozen(kw_only=True)
class DayStats:
    """Runs of one queue that ended on one day."""

    queue: str
    date: date
    """A day in UTC."""
    processed: int = 0
    """Runs that ended, including failures."""
    failed: int = 0
