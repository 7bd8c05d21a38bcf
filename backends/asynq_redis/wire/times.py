"""Convert times in Redis: scores in seconds, fields in nanoseconds. Clients may write any number."""

from __future__ import annotations

from typing import Final

MAX_SCORE_INSTANT: Final = 2**53 - 1
"""Maximum milliseconds that a score can distinguish. lua/lib/time.lua has the same constant."""

_DIGITS: Final = 19
"""Number of digits of the greatest 64-bit integer."""


def score_instant(score: bytes) -> int:
    """Convert a score in seconds, which may be infinite, to Unix milliseconds, at most MAX_SCORE_INSTANT."""
    return round(min(max(float(score) * 1000, -MAX_SCORE_INSTANT), MAX_SCORE_INSTANT))


def nanoseconds_instant(text: bytes) -> int:
    """Convert a field in nanoseconds to Unix milliseconds. 0 if it is not a 64-bit integer."""
    return int(text) // 1_000_000 if text.isdigit() and len(text) <= _DIGITS else 0
