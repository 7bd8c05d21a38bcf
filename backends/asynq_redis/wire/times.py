"""Times as Redis keeps them: scores in seconds, fields in nanoseconds. A peer may have written any number."""

from __future__ import annotations

from typing import Final

MAX_SCORE_INSTANT: Final = 2**53 - 1
"""The most milliseconds that a score tells apart; lua/lib/time.lua has the same."""

_DIGITS: Final = 19
"""Of the greatest integer of 64 bits."""


def score_instant(score: bytes) -> int:
    """Convert a score in seconds, which may be infinite, to Unix milliseconds, at most MAX_SCORE_INSTANT."""
    return round(min(max(float(score) * 1000, -MAX_SCORE_INSTANT), MAX_SCORE_INSTANT))


def nanoseconds_instant(text: bytes) -> int:
    """The Unix instant in milliseconds of a field in nanoseconds; 0 for what is none in 64 bits."""
    return int(text) // 1_000_000 if text.isdigit() and len(text) <= _DIGITS else 0
