"""Schedules of periodic tasks: Go asynq's cron dialect, parsed here and evaluated with croniter.

A spec has five fields (minute, hour, day of month, month, day of week), or is one of the descriptors @yearly
@annually @monthly @weekly @daily @midnight @hourly, or `@every DURATION`. A prefix `CRON_TZ=Zone ` or
`TZ=Zone ` sets the time zone. A DURATION is in whole seconds, at least one; fractions are cut off. The day of
week is from 0 (Sunday) to 6. If both day fields are restricted, one of them must match; if one contains a
star, both must match. Wall-clock times that a daylight-saving change skips do not fire. Times that it repeats
fire each time they occur.
"""

from __future__ import annotations

import string
from datetime import datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo

from attrs import frozen
from croniter import croniter
from croniter.croniter import CroniterBadDateError

from asynq.checks import check_instant, check_text, check_zone
from asynq.durations import parse_duration
from asynq.errors import AsynqError
from asynq.instants import EPOCH

_UTC = ZoneInfo("UTC")
_SECOND = timedelta(seconds=1)
_MAX_SEARCH_YEARS = 5
_MAX_SEARCH = timedelta(days=366 * _MAX_SEARCH_YEARS)
_END = datetime(9999, 12, 30, tzinfo=_UTC)
"""Two days before the last day that every zone can represent."""
_MONTHS = {name: i for i, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_WEEKDAYS = {name: i for i, name in enumerate("sun mon tue wed thu fri sat".split())}
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


class CronError(AsynqError, ValueError):
    """The schedule is malformed; the message names the part and the reason."""


class Schedule(Protocol):
    """The due times of a periodic task."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first due time after an aware instant; None if there is none within five years."""
        ...


def parse(spec: str, location: tzinfo = _UTC) -> Schedule:
    """Parse a schedule.

    Args:
        spec: the schedule, such as "0 9 * * mon-fri" or "@every 5m".
        location: zone of its wall-clock times, unless the spec names one.

    Returns:
        The schedule; its `next_after(instant)` is the first due time after an aware datetime, or None.

    Raises:
        CronError: the spec is malformed. It is a ValueError.
        TypeError: an argument has the wrong type.
    """
    check_text("spec", spec)
    check_zone("location", location)
    if not spec:
        raise CronError("the schedule is empty")
    zone, rest = _zone(spec, location)
    if rest.startswith("@every "):
        return _every(rest.removeprefix("@every "))
    if rest.startswith("@"):
        if rest not in _DESCRIPTORS:
            known = ", ".join(sorted(_DESCRIPTORS))
            raise CronError(f"unknown descriptor {rest!r}: known are {known} and @every DURATION")
        rest = _DESCRIPTORS[rest]
    return _fields(rest, zone)


@frozen
class IntervalSchedule:
    """Due at a fixed interval of whole seconds."""

    interval: timedelta

    def next_after(self, instant: datetime) -> datetime | None:
        """The instant plus the interval, at a whole second; None at the end of the calendar.

        The result is in the zone of the instant. Changes of the zone's offset do not change the interval.
        """
        check_instant("instant", instant)
        if instant >= _END - min(self.interval, _END - EPOCH):
            return None
        # Arithmetic on a datetime of any other zone uses the wall clock.
        due = instant.astimezone(_UTC).replace(microsecond=0) + self.interval
        return due.astimezone(instant.tzinfo)


@frozen
class CronSchedule:
    """Due at wall-clock times of one zone."""

    expressions: tuple[str, ...]
    """One must match in all its five fields, which are in croniter's format."""
    location: tzinfo

    def next_after(self, instant: datetime) -> datetime | None:
        """The first matching minute after the instant, in the schedule's zone."""
        check_instant("instant", instant)
        if instant >= _END:
            return None
        start = instant.astimezone(_UTC)
        end = _END if start > _END - _MAX_SEARCH else start + _MAX_SEARCH
        # Between two changes of the zone's offset, wall clock and real time advance together. So each such
        # period is searched by the naive wall clock, and a match after its end does not count.
        inclusive = False
        while start < end:
            offset = self._offset(start)
            wall = (start + offset).replace(tzinfo=None)
            found = self._next_wall(wall - timedelta(microseconds=1) if inclusive else wall)
            if found is None:
                return None
            match = found.replace(tzinfo=_UTC) - offset
            change = self._next_change(start, match)
            if change is None:
                return match.astimezone(self.location)
            start, inclusive = change, True
        return None

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.location).utcoffset() or timedelta()

    def _next_wall(self, wall: datetime) -> datetime | None:
        found = (_next_match(expression, wall) for expression in self.expressions)
        return min(filter(None, found), default=None)

    def _next_change(self, start: datetime, end: datetime) -> datetime | None:
        """The first instant after start and not after end at which the zone's offset changes."""
        step = timedelta(days=7)  # shorter than the time between two changes of any real zone
        before = self._offset(start)
        low = start
        while low < end:
            high = min(low + step, end)
            if self._offset(high) != before:
                while high - low > _SECOND:
                    middle = (low + (high - low) / 2).replace(microsecond=0)
                    middle = middle if middle > low else low + _SECOND
                    if middle >= high:
                        break
                    low, high = (middle, high) if self._offset(middle) == before else (low, middle)
                return high.replace(microsecond=0)
            low = high
        return None


def _next_match(expression: str, wall: datetime) -> datetime | None:
    steps = croniter(expression, wall, day_or=False, max_years_between_matches=_MAX_SEARCH_YEARS)
    try:
        found: datetime = steps.get_next(datetime)
    except CroniterBadDateError:
        return None
    return found


def _zone(spec: str, location: tzinfo) -> tuple[tzinfo, str]:
    prefix = next((p for p in ("TZ=", "CRON_TZ=") if spec.startswith(p)), None)
    if prefix is None:
        return location, spec
    name, space, rest = spec.removeprefix(prefix).partition(" ")
    if not space:
        raise CronError(f"{spec!r} names a time zone but no times")
    try:
        return ZoneInfo(name or "UTC"), rest.strip()
    except (OSError, ValueError, LookupError):
        raise CronError(f"unknown time zone {name!r}") from None


def _every(text: str) -> IntervalSchedule:
    try:
        interval = parse_duration(text)
    except ValueError as error:
        raise CronError(f"@every: {error}") from None
    if interval <= timedelta():
        raise CronError(f"@every {text}: the interval must be positive")
    return IntervalSchedule(max(_SECOND, interval - interval % _SECOND))


def _fields(spec: str, location: tzinfo) -> CronSchedule:
    parts = spec.split()
    if len(parts) != 5:
        raise CronError(
            f"expected minute, hour, day of month, month and day of week, found {len(parts)} fields: {spec!r}"
        )
    minute, hour, day, month, weekday = parts
    days, day_star = _values(day, "day of month", 1, 31)
    weekdays, weekday_star = _values(weekday, "day of week", 0, 6, _WEEKDAYS)
    minutes = _column(_values(minute, "minute", 0, 59)[0], 60)
    hours = _column(_values(hour, "hour", 0, 23)[0], 24)
    months = _column(_values(month, "month", 1, 12, _MONTHS)[0], 12)
    both = (_column(days, 31), _column(weekdays, 7))
    # Either of two expressions may match. In one, croniter before 7.0 requires that both match some day.
    day_fields = [both] if day_star or weekday_star else [(both[0], "*"), ("*", both[1])]
    return CronSchedule(tuple(f"{minutes} {hours} {d} {months} {w}" for d, w in day_fields), location)


def _column(values: set[int], size: int) -> str:
    return "*" if len(values) == size else ",".join(map(str, sorted(values)))


def _values(
    text: str, name: str, low: int, high: int, names: dict[str, int] | None = None
) -> tuple[set[int], bool]:
    """The values that a field allows, and whether it contains a star."""
    values: set[int] = set()
    star = False
    for part in filter(None, text.split(",")):
        span, slash, step_text = part.partition("/")
        first, dash, last = span.partition("-")
        if "/" in step_text or "-" in last:
            raise CronError(f"{name}: cannot read {part!r}")
        any_value = first in ("*", "?")
        begin = low if any_value else _number(first, part, name, names)
        if any_value:
            end = high
        elif dash:
            end = _number(last, part, name, names)
        else:
            end = high if slash else begin
        step = _number(step_text, part, name, None) if slash else 1
        if begin < low or end > high:
            raise CronError(f"{name}: {part!r} is not within {low}-{high}")
        if begin > end or step < 1:
            raise CronError(f"{name}: {part!r} allows no value")
        star = star or (any_value and step == 1)
        values.update(range(begin, end + 1, step))
    if not values:
        raise CronError(f"{name}: {text!r} allows no value")
    return values, star


def _number(text: str, part: str, name: str, names: dict[str, int] | None) -> int:
    if names and text.lower() in names:
        return names[text.lower()]
    digits = text.removeprefix("+")
    if not digits or set(digits) - set(string.digits):
        raise CronError(f"{name}: cannot read {text!r} in {part!r}")
    return int(digits)
