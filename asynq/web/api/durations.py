"""Durations as requests write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.durations import parse_duration

if TYPE_CHECKING:
    from datetime import timedelta


def read_duration(text: str) -> timedelta:
    """A duration such as "1h30m"; a whole number is in seconds. ValueError for any other text."""
    return parse_duration(f"{text}s" if text.isdecimal() else text)
