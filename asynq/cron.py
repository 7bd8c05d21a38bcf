"""When a periodic task is due: the cron dialect of Go asynq over croniter.

Five fields (minute, hour, day of month, month, day of week), the descriptors @yearly @annually @monthly
@weekly @daily @midnight @hourly, `@every DURATION`, and a prefix `CRON_TZ=Zone ` or `TZ=Zone `. A DURATION
counts in whole seconds, at least one; fractions are cut off. Day of week counts from 0 (Sunday) to 6.
Where both day fields are restricted, either may match; a star in one of them means that both must.
Wall-clock times that a daylight-saving change skips do not fire; times it repeats fire each time they are
reached.
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
"""Two days before the last one that every zone can express."""
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
    """The schedule cannot be read; the message says which part of it and why."""


class Schedule(Protocol):
    """Tells when a periodic task is due."""

    def next_after(self, instant: datetime) -> datetime | None:
        """The first due time strictly after an aware instant; None if there is none within five years."""
        ...


def parse(spec: str, location: tzinfo = _UTC) -> Schedule:
    """The schedule a spec describes, its wall-clock times read in `location` unless the spec names a zone.

    CronError, a ValueError, when the spec is malformed.
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
    """Due again and again after a fixed interval of whole seconds."""

    interval: timedelta

    def next_after(self, instant: datetime) -> datetime | None:
        """The instant plus the interval, at a whole second; None at the end of the calendar.

        In the zone of the instant, whose changes of offset make the interval neither longer nor shorter.
        """
        check_instant("instant", instant)
        if instant >= _END - min(self.interval, _END - EPOCH):
            return None
        # Arithmetic on a datetime of any other zone counts by the wall clock.
        due = instant.astimezone(_UTC).replace(microsecond=0) + self.interval
        return due.astimezone(instant.tzinfo)


@frozen
class CronSchedule:
    """Due at wall-clock times of one zone."""

    expression: str
    """Five fields as croniter reads them."""
    either_day: bool
    """True if one of the day fields is enough to match, False if both must."""
    location: tzinfo

    def next_after(self, instant: datetime) -> datetime | None:
        """The first matching minute after the instant, in the schedule's zone."""
        check_instant("instant", instant)
        if instant >= _END:
            return None
        start = instant.astimezone(_UTC)
        end = _END if start > _END - _MAX_SEARCH else start + _MAX_SEARCH
        # Between two changes of the zone's offset wall clock and real time run in step, so each such
        # stretch is searched by the naive wall clock, and a match beyond its end is not one.
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
        steps = croniter(
            self.expression, wall, day_or=self.either_day, max_years_between_matches=_MAX_SEARCH_YEARS
        )
        try:
            found: datetime = steps.get_next(datetime)
        except CroniterBadDateError:
            return None
        return found

    def _next_change(self, start: datetime, end: datetime) -> datetime | None:
        """The first instant after start and not after end at which the zone's offset changes."""
        step = timedelta(days=7)  # shorter than any two changes of a real zone lie apart
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
    columns = (
        _column(_values(minute, "minute", 0, 59)[0], 60),
        _column(_values(hour, "hour", 0, 23)[0], 24),
        _column(days, 31),
        _column(_values(month, "month", 1, 12, _MONTHS)[0], 12),
        _column(weekdays, 7),
    )
    return CronSchedule(" ".join(columns), not (day_star or weekday_star), location)


def _column(values: set[int], size: int) -> str:
    return "*" if len(values) == size else ",".join(map(str, sorted(values)))


def _values(
    text: str, name: str, low: int, high: int, names: dict[str, int] | None = None
) -> tuple[set[int], bool]:
    """The values a field allows, and whether it holds a star."""
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
