"""Short texts of values, for templates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS = ((86_400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def count(number: float) -> str:
    """1,200."""
    return f"{number:,}"


def pair_with(name: str, record: Any) -> tuple[str, int]:
    """A name with the number of this name in a record."""
    return name, getattr(record, name)


def rate(number: float) -> str:
    """Runs in a second: 0, 0.3, 12."""
    return f"{number:.1f}" if 0 < number < 10 else f"{number:,.0f}"


def highest(values: Sequence[float]) -> float:
    """The highest of some values; 0 of none."""
    return max(values, default=0.0)


def percent(part: float, whole: float) -> str:
    """A share: 12.5%; "" of nothing."""
    return f"{100 * part / whole:.1f}%" if whole else ""


def bytes_text(number: int | None) -> str:
    """1.2 MB; "" for an unknown number."""
    if number is None:
        return ""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return f"{number} B"


def duration(value: timedelta | float | None) -> str:
    """The two largest units: 2d 3h, 5m 10s, 1.5s, 20ms; "" for none. A number is in seconds."""
    if value is None:
        return ""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms" if seconds > 0 else "0s"
    if seconds < 10:
        return f"{seconds:.1f}s".replace(".0s", "s")
    rest = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        whole, rest = divmod(rest, size)
        if whole or parts:
            parts.append(f"{whole}{unit}" if whole else "")
    return " ".join(part for part in parts[:2] if part)


def ago(instant: datetime | None) -> str:
    """An instant relative to the present: "in 5m 3s", "2h 1m ago", "now"; "" for none."""
    if instant is None:
        return ""
    distance = (instant - datetime.now(UTC)).total_seconds()
    if abs(distance) < 1:
        return "now"
    return f"in {duration(distance)}" if distance > 0 else f"{duration(-distance)} ago"


def since(instant: datetime | None) -> str:
    """The time from an instant to the present; "" for none."""
    return duration(max((datetime.now(UTC) - instant).total_seconds(), 0.0)) if instant else ""


def iso(instant: datetime | None) -> str:
    """An instant in UTC, to the second; "" for none."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if instant else ""


def clock(milliseconds: int) -> str:
    """A time in Unix milliseconds, in UTC."""
    return iso(datetime.fromtimestamp(milliseconds / 1000, UTC))
