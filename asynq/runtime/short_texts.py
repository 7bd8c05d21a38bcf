"""Short texts of values, for tables that people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from asynq.runtime.plain import text_of
from asynq.runtime.safe_text import shown

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_WIDTH = 60


def short_duration(duration: timedelta) -> str:
    """The two largest units: 2d 3h, 5m 10s, 1.5s, 20ms."""
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds else "0s"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    rest = round(seconds)
    for position, (size, unit) in enumerate(_UNITS):
        if rest >= size:
            whole, rest = divmod(rest, size)
            if position + 1 == len(_UNITS):
                return f"{whole}{unit}"
            next_size, next_unit = _UNITS[position + 1]
            return f"{whole}{unit}" + (f" {rest // next_size}{next_unit}" if rest >= next_size else "")
    return "0s"


def from_now(instant: datetime | None, now: datetime | None = None) -> str:
    """An instant relative to the present: "in 5m 3s", "2h 1m ago", "now"; "" for none."""
    if instant is None:
        return ""
    distance = instant - (now or datetime.now(UTC))
    if abs(distance) < timedelta(seconds=1):
        return "now"
    if distance > timedelta(0):
        return f"in {short_duration(distance)}"
    return f"{short_duration(-distance)} ago"


def at(instant: datetime | None) -> str:
    """An instant in UTC, to the second; "" for none."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if instant else ""


def at_from_now(instant: datetime | None) -> str:
    """An instant in UTC and relative to the present; "" for none."""
    return f"{at(instant)} ({from_now(instant)})" if instant else ""


def data(value: bytes, limit: int = _WIDTH) -> str:
    """Bytes as one line of text; their number if they are no text."""
    text = text_of(value)
    return f"{len(value):,} bytes that are not text" if text is None else shown(text, limit)


def size(count: int | None) -> str:
    """A number of bytes: 1.2 MB; "" for none."""
    if count is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def percent(part: int, whole: int) -> str:
    """A share: 12.5%; "" of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else ""


def plural(count: int, noun: str) -> str:
    """1 task, 1,200 tasks."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
