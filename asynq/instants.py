"""Conversion between stored integers and Python's datetimes and timedeltas, clamped to Python's range.

A peer may store any 64-bit number. A value outside of Python's range becomes the nearest one inside, so that
one odd number does not break a listing. Values to be written were checked before (see asynq.checks).
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MIN_DATETIME: Final = datetime(1, 1, 2, tzinfo=UTC)
MAX_DATETIME: Final = datetime(9999, 12, 31, tzinfo=UTC)
"""Every time zone can represent the datetimes from MIN_DATETIME to MAX_DATETIME."""

_MILLISECOND = timedelta(milliseconds=1)
_SECOND = timedelta(seconds=1)
_FIRST, _LAST = (MIN_DATETIME - EPOCH) // _MILLISECOND, (MAX_DATETIME - EPOCH) // _MILLISECOND
_SHORTEST, _LONGEST = timedelta.min // _MILLISECOND + 1, timedelta.max // _MILLISECOND


def instant_of(milliseconds: int) -> datetime:
    """The Unix instant in UTC, or the nearest one that every time zone can represent."""
    return EPOCH + min(max(milliseconds, _FIRST), _LAST) * _MILLISECOND


def instant_or_none(milliseconds: int) -> datetime | None:
    """`instant_of`; None for 0, which means never."""
    return instant_of(milliseconds) if milliseconds else None


def duration_of(milliseconds: int) -> timedelta:
    """The duration, or the nearest one that a timedelta can represent."""
    return min(max(milliseconds, _SHORTEST), _LONGEST) * _MILLISECOND


def in_utc(instant: datetime) -> datetime:
    """The instant in UTC, or the nearest one that every time zone can represent."""
    return EPOCH + min(max(instant - EPOCH, MIN_DATETIME - EPOCH), MAX_DATETIME - EPOCH)


def milliseconds_of(value: datetime | timedelta) -> int:
    """A Unix instant or a duration in milliseconds, rounded up so that a due time is never early."""
    return _whole(value, _MILLISECOND)


def seconds_of(value: datetime | timedelta) -> int:
    """A Unix instant or a duration in seconds, rounded up so that a limit is never shorter."""
    return _whole(value, _SECOND)


def _whole(value: datetime | timedelta, unit: timedelta) -> int:
    return -(-(value - EPOCH if isinstance(value, datetime) else value) // unit)
