"""Time zones with changing offsets: durations are real time, cron fields are wall-clock time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynq import Task, cron
from asynq.client.enqueue import compose
from asynq.client.go_options import option_texts
from asynq.client.options import Options
from asynq.scheduler.entries import Entry
from asynq.scheduler.ticks import Ticks

if TYPE_CHECKING:
    from collections.abc import Iterator

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 86_400
"""Seconds. No zone used here changes twice within this time."""
ZONES = [
    "Europe/Berlin",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Africa/Casablanca",
    "Asia/Gaza",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "UTC",
]
"""Zones that change by an hour, half an hour or two hours, at various times; and one that never changes."""
SKIPPED_DAY = (ZoneInfo("Pacific/Apia"), datetime(2011, 12, 30, 10, tzinfo=UTC))
"""The zone moved across the date line and skipped the 30th."""


@cache
def changes(zone: str) -> list[int]:
    """Unix milliseconds at which the zone's offset changes, 2025 to 2032; a single noon if it never does."""
    start, there = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp()), ZoneInfo(zone)

    def offset(second: int) -> timedelta | None:
        return datetime.fromtimestamp(second, there).utcoffset()

    days = [day for day in range(start, start + 7 * 366 * DAY, DAY) if offset(day) != offset(day + DAY)]
    steps = [step for day in days for step in range(day, day + DAY, 1800)]
    found = [(step + 1800) * 1000 for step in steps if offset(step) != offset(step + 1800)]
    return found or [start * 1000 + 12 * HOUR]


def instant(milliseconds: int, zone: tzinfo = UTC) -> datetime:
    return (EPOCH + timedelta(milliseconds=milliseconds)).astimezone(zone)


@st.composite
def near_changes(draw: st.DrawFn, hours: int = 36) -> tuple[str, int]:
    """A zone, and an instant within this many hours of a change of its offset."""
    zone = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(changes(zone)))
    return zone, change + draw(st.integers(-hours * HOUR, hours * HOUR))


# --- durations ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [datetime(2026, 3, 28, 12), datetime(2026, 10, 24, 12)])  # noqa: DTZ001
def test_every_24_hours_stays_24_hours_across_a_change_of_the_offset(day: datetime) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    found = cron.parse("@every 24h", berlin).next_after(day.replace(tzinfo=berlin))
    assert found is not None
    assert found.tzinfo is berlin
    assert found.astimezone(UTC) - day.replace(tzinfo=berlin).astimezone(UTC) == timedelta(hours=24)


@given(near=near_changes(), seconds=st.integers(1, 7 * 86_400), other=st.sampled_from(ZONES))
def test_every_is_real_time_in_any_zone(near: tuple[str, int], seconds: int, other: str) -> None:
    zone, start = near
    schedule = cron.parse(f"@every {seconds}s", ZoneInfo(other))
    found = schedule.next_after(instant(start, ZoneInfo(zone)))
    assert found is not None
    assert int(found.timestamp()) == start // 1000 + seconds
    assert found.astimezone(UTC) == schedule.next_after(instant(start))


@given(near=near_changes())
def test_an_instant_means_the_same_in_any_zone(near: tuple[str, int]) -> None:
    """This includes the hour that a change repeats, where `fold` selects one of the two."""
    zone, start = near
    for there in (ZoneInfo(zone), UTC, timezone.utc, timezone(timedelta(hours=5))):  # noqa: UP017
        told = Options(process_at=instant(start, there), deadline=instant(start, there))
        utc = Options(process_at=instant(start), deadline=instant(start))
        request = compose(Task("t"), told, lambda: "id")
        assert request.process_at == start
        assert request.message.deadline == -(-start // 1000)
        assert option_texts(told) == option_texts(utc)
        assert Entry.of("@hourly", Task("t"), told, UTC).id == Entry.of("@hourly", Task("t"), utc, UTC).id


# --- wall clock -----------------------------------------------------------------------------------------


@st.composite
def specs(draw: st.DrawFn) -> str:
    """Cron specs for times of day that occur often, on some days."""

    def some(low: int, high: int, most: int) -> str:
        values = draw(st.sets(st.integers(low, high), min_size=1, max_size=most))
        return ",".join(map(str, sorted(values)))

    minute = draw(st.sampled_from(["*", "*/20", "0", "30"]) | st.just(some(0, 59, 3)))
    hour = draw(st.sampled_from(["*", "0", "1", "2", "3", "23", "0-3", "*/2"]) | st.just(some(0, 23, 4)))
    days = draw(st.sampled_from(["* *", f"{some(1, 31, 8)} *", f"* {some(0, 6, 3)}", "*/2 0-3", "1-15 1,6"]))
    day, weekday = days.split()
    return f"{minute} {hour} {day} * {weekday}"


def values(text: str, low: int, high: int) -> set[int]:
    """The values that match a field, by an independent parser."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("*" if span == "*" else span).partition("-")
        begin, end = (low, high) if first == "*" else (int(first), int(last or first))
        found.update(range(begin, end + 1, int(step or 1)))
    return found


def matching(spec: str, zone: tzinfo, start: int, end: int) -> Iterator[int]:
    """All minutes in an interval whose wall-clock time matches the spec."""
    minute, hour, day, _, weekday = spec.split()
    minutes, hours = values(minute, 0, 59), values(hour, 0, 23)
    days, weekdays = values(day, 1, 31), values(weekday, 0, 6)
    for at in range((start // MINUTE + 1) * MINUTE, end + 1, MINUTE):
        wall = instant(at, zone)
        both = [wall.day in days, wall.isoweekday() % 7 in weekdays]
        on_day = all(both) if "*" in (day, weekday) else any(both)
        if wall.minute in minutes and wall.hour in hours and on_day:
            yield at


@settings(max_examples=60, deadline=None)
@given(near=near_changes(8), spec=specs())
def test_no_tick_is_skipped_or_doubled_by_a_change_of_the_offset(near: tuple[str, int], spec: str) -> None:
    """Each minute with a matching wall-clock time is a tick: none if skipped, two if repeated."""
    zone, start = ZoneInfo(near[0]), near[1]
    end = start + 9 * HOUR
    found = list(Ticks(cron.parse(spec, zone)).between(start, end))
    assert found == list(matching(spec, zone, start, end))


@pytest.mark.parametrize("spec", ["0 * * * *", "30 9 * * *", "0 0 30 * *", "*/15 0 * * 5"])
def test_a_day_skipped_by_a_zone_has_no_ticks(spec: str) -> None:
    zone, change = SKIPPED_DAY
    start = int(change.timestamp() * 1000) - 20 * HOUR
    end = start + 48 * HOUR
    found = list(Ticks(cron.parse(spec, zone)).between(start, end))
    assert found == list(matching(spec, zone, start, end))
    assert not any(instant(tick, zone).date().isoformat() == "2011-12-30" for tick in found)


@given(near=near_changes(8), back=st.integers(0, 9 * HOUR), spec=specs())
@settings(max_examples=30, deadline=None)
def test_a_scheduler_that_wakes_up_at_any_time_takes_each_tick_once(
    near: tuple[str, int], back: int, spec: str
) -> None:
    """Ticks taken one by one equal those of the whole interval."""
    name, now = near
    ticks = Ticks(cron.parse(spec, ZoneInfo(name)))
    since = now - back
    expected = list(matching(spec, ZoneInfo(name), since, now))
    taken = []
    while (tick := ticks.due(since, now, back)) is not None:
        taken.append(tick)
        since = tick
    assert taken == expected
