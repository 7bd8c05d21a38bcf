"""Durations in Go's notation: `1h30m0s`, `1.5s`, `250ms`; used by asynq's tools and schedules."""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60 * 1_000_000_000,
    "h": 3600 * 1_000_000_000,
}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_INT64_MAX = 2**63 - 1


def parse_duration(text: str) -> timedelta:
    """Parse a duration as Go's time.ParseDuration does, truncated to whole microseconds.

    ValueError when the text is malformed or longer than Go can represent (about 292 years).
    """
    unsigned = text[1:] if text[:1] in ("-", "+") else text
    if unsigned == "0":
        return timedelta()
    nanoseconds, position = Decimal(0), 0
    while position < len(unsigned):
        part = _PART.match(unsigned, position)
        if part is None:
            break
        nanoseconds += Decimal(part[1]) * _NANOSECONDS[part[2]]
        position = part.end()
    if not unsigned or position < len(unsigned):
        raise ValueError(f"{text!r} is not a duration: write for example 90s, 1h30m or 250ms")
    if nanoseconds > _INT64_MAX:
        raise ValueError(f"the duration {text!r} is too long")
    whole = timedelta(microseconds=int(nanoseconds) // 1000)
    return -whole if text.startswith("-") else whole


def format_duration(duration: timedelta) -> str:
    """The duration in Go's format, for example `1h0m0s`, `1.5s`, `20ms`, `0s`."""
    microseconds = duration // timedelta(microseconds=1)
    sign, rest = ("-", -microseconds) if microseconds < 0 else ("", microseconds)
    if rest == 0:
        return "0s"
    if rest < 1000:
        return f"{sign}{rest}µs"
    if rest < 1_000_000:
        return f"{sign}{_trimmed(rest, 1000)}ms"
    minutes, rest = divmod(rest, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = f"{_trimmed(rest, 1_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else f"{sign}{seconds}"


def _trimmed(value: int, unit: int) -> str:
    """value/unit in decimal notation without trailing zeros."""
    whole, fraction = divmod(value, unit)
    if not fraction:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{str(fraction).zfill(digits).rstrip('0')}"
