"""Short texts of values that only templates need; `asynq.runtime.short_texts` has those of all views."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asynq.durations import format_duration
from asynq.runtime.short_texts import at, short_duration
from asynq.runtime.shown_data import indented

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.broker import Broker
    from asynq.web.api.shapes import DataFacts


_SPACES = re.compile(r'("(?:[^"\\]|\\.)*")|\s+')
"""Strings of JSON, and the spaces between its parts."""


def count(number: float) -> str:
    """1,200."""
    return f"{number:,}"


def capitalized(text: str) -> str:
    """A text that begins with a capital letter. The rest stays as it is."""
    return text[:1].upper() + text[1:]


def broker_name(broker: Broker) -> str:
    """The broker as logs name it, without its password: two of them must not be mistaken for each other."""
    name = repr(broker)
    return type(broker).__name__ if name.startswith("<") else name


def pair_with(name: str, record: Any) -> tuple[str, int]:
    """A name with the number of this name in a record."""
    return name, getattr(record, name)


def rate(number: float) -> str:
    """Runs in a second: 0, 0.3, 12."""
    return f"{number:.1f}" if 0 < number < 10 else f"{number:,.0f}"


def highest(values: Sequence[float]) -> float:
    """The highest of some values; 0 of none."""
    return max(values, default=0.0)


def duration(value: timedelta | float | None) -> str:
    """A duration; "" for none. A number is in seconds, and a negative one is over."""
    if value is None:
        return ""
    length = value if isinstance(value, timedelta) else timedelta(seconds=value)
    return short_duration(max(length, timedelta(0)))


def since(instant: datetime | None) -> str:
    """The time from an instant to the present; "" for none."""
    return duration(datetime.now(UTC) - instant) if instant else ""


def editable(text: str, facts: DataFacts) -> bool:
    """Whether data stays as it is in a text field of a form: browsers change ends of lines and NUL."""
    return facts.encoding == "text" and not facts.truncated and not {"\r", "\0"} & set(text)


def field_text(text: str, facts: DataFacts) -> tuple[str, bool] | None:
    """Data in a field of a form, and whether it is JSON, which is indented. None if it is not editable."""
    if not editable(text, facts):
        return None
    json = indented(text)
    if json is None:
        return text, False
    # Other texts than spaces that would change, such as 1.10, remain as they are.
    return (json if _SPACES.sub(r"\1", json) == _SPACES.sub(r"\1", text) else text), True


def field_duration(seconds: float | None) -> str:
    """A duration as a form writes it: 1h30m; "" for none."""
    text = format_duration(timedelta(seconds=seconds)) if seconds else ""
    return re.sub(r"(?<=[hm])0[ms]", "", re.sub(r"(?<=m)0s$", "", text))


def clock_time(instant: datetime | None) -> str:
    """The time of the day of an instant, in UTC; "" for none."""
    return f"{instant.astimezone(UTC):%H:%M:%S} UTC" if instant else ""


def clock(milliseconds: int) -> str:
    """A time in Unix milliseconds, in UTC."""
    return at(datetime.fromtimestamp(milliseconds / 1000, UTC))
