"""Instants and durations of the wire as Python's, whatever a peer wrote."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asynq.checks import EPOCH

_MILLISECOND = timedelta(milliseconds=1)
_FIRST = (datetime(1, 1, 2, tzinfo=UTC) - EPOCH) // _MILLISECOND
_LAST = (datetime(9999, 12, 30, tzinfo=UTC) - EPOCH) // _MILLISECOND
"""A day within what a datetime can hold, so that every zone can express it."""
_SHORTEST = timedelta.min // _MILLISECOND
_LONGEST = timedelta.max // _MILLISECOND


def instant_of(milliseconds: int) -> datetime:
    """The datetime, in UTC, of a Unix instant; one beyond the years Python knows is brought within them."""
    return EPOCH + min(max(milliseconds, _FIRST), _LAST) * _MILLISECOND


def duration_of(milliseconds: int) -> timedelta:
    """The timedelta of so many milliseconds, or the longest one there is."""
    return min(max(milliseconds, _SHORTEST), _LONGEST) * _MILLISECOND
