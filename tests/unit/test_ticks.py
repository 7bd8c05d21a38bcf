from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from asynq import cron
from asynq.scheduler.ticks import Ticks

BERLIN = ZoneInfo("Europe/Berlin")
HOUR = 3_600_000


def ticks(spec: str, location: ZoneInfo = BERLIN) -> Ticks:
    return Ticks(cron.parse(spec, location))


def at(text: str) -> int:
    """Unix milliseconds of an instant, UTC unless it says otherwise."""
    instant = datetime.fromisoformat(text)
    return int((instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() * 1000)


def shown(*instants: int) -> list[str]:
    return [datetime.fromtimestamp(instant / 1000, BERLIN).isoformat(" ", "minutes") for instant in instants]


def test_every_is_aligned_to_the_epoch() -> None:
    seven = ticks("@every 7s")
    assert [seven.after(instant) for instant in (0, 1, 6_999, 7_000)] == [7_000, 7_000, 7_000, 14_000]
    assert ticks("@every 1h").after(at("2030-01-01 10:17:03")) == at("2030-01-01 11:00:00")


def test_a_wall_clock_time_skipped_by_daylight_saving_has_no_tick() -> None:
    daily = ticks("30 2 * * *").between(at("2030-03-29 12:00"), at("2030-04-01 12:00"))
    assert shown(*daily) == ["2030-03-30 02:30+01:00", "2030-04-01 02:30+02:00"]


def test_a_wall_clock_time_repeated_by_daylight_saving_has_two_ticks() -> None:
    daily = ticks("30 2 * * *").between(at("2030-10-26 12:00"), at("2030-10-27 12:00"))
    assert shown(*daily) == ["2030-10-27 02:30+02:00", "2030-10-27 02:30+01:00"]


def test_hourly_ticks_continue_through_daylight_saving_changes() -> None:
    hourly = ticks("@hourly")
    for day in ("2030-03-31", "2030-10-27"):
        found = list(hourly.between(at(f"{day} 00:00") - 1, at(f"{day} 05:00")))
        assert [later - earlier for earlier, later in pairwise(found)] == [HOUR] * 5


@pytest.mark.parametrize(
    ("since", "now", "catch_up", "due"),
    [
        ("10:00", "10:04:59", 0, None),
        ("10:00", "10:05:00", 0, "10:05"),
        ("10:00", "10:05:01", 0, "10:05"),
        ("10:00", "10:59:59", 0, "10:55"),
        ("04:00", "10:59:59", 0, "10:55"),
        ("10:00", "10:59:59", HOUR, "10:05"),
        ("10:00", "10:59:59", HOUR // 2, "10:30"),
        ("10:00", "10:30:00", HOUR // 2, "10:05"),
        ("10:00", "10:59:59", 1, "10:55"),
    ],
)
def test_the_next_tick_is_found(since: str, now: str, catch_up: int, due: str | None) -> None:
    found = ticks("*/5 * * * *").due(at(f"2030-01-01 {since}"), at(f"2030-01-01 {now}"), catch_up)
    assert found == (due and at(f"2030-01-01 {due}"))


def test_the_latest_tick_is_found_after_a_year_of_downtime() -> None:
    since, now = at("2029-01-01"), at("2030-01-01 00:00:30")
    assert ticks("* * * * *").due(since, now, 0) == at("2030-01-01")
    assert ticks("0 0 1 6 *", ZoneInfo("UTC")).due(since, now, 0) == at("2029-06-01")
    assert ticks("0 0 30 2 *").due(since, now, 0) is None
