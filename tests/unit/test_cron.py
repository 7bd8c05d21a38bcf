"""The cron dialect, compared with recordings of Go's scheduler."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from asynq import cron

RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "data" / "cronspecs.json").read_text()
)
INSTANTS = {
    row["name"]: (datetime.fromisoformat(row["at"]), ZoneInfo(row["location"]))
    for row in RECORDED["instants"]
}
REFUSED_HERE = {
    "@every 0s": "Go silently runs it every second",
    "@every -5s": "Go silently runs it every second",
}


@pytest.mark.parametrize("row", RECORDED["specs"], ids=lambda row: repr(row["spec"]))
def test_a_spec_is_parsed_like_in_go(row: dict[str, Any]) -> None:
    spec = row["spec"]
    if row.get("error") or row.get("panic") or spec in REFUSED_HERE:
        with pytest.raises(cron.CronError):
            cron.parse(spec)
        return
    for name, expected in row["next"].items():
        instant, location = INSTANTS[name]
        schedule = cron.parse(spec, location)
        for time in expected:
            found = schedule.next_after(instant)
            if time is None:
                assert found is None
                break
            assert found is not None
            assert int(found.timestamp()) * 10**9 == time["unix_ns"]
            instant = found


def test_a_skipped_wall_clock_time_does_not_fire() -> None:
    schedule = cron.parse("30 2 * * *", ZoneInfo("Europe/Berlin"))
    found = schedule.next_after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    assert found == datetime(2026, 3, 30, 0, 30, tzinfo=UTC)


def test_a_repeated_wall_clock_time_fires_each_time() -> None:
    schedule = cron.parse("30 2 * * *", ZoneInfo("Europe/Berlin"))
    first = schedule.next_after(datetime(2026, 10, 24, 12, tzinfo=UTC))
    assert first is not None
    assert first.astimezone(UTC) == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    second = schedule.next_after(first)
    assert second is not None
    assert second.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=1)


@pytest.mark.parametrize("day", ["29", "30"])  # of February: not in the eight years before 2104, and never
def test_a_weekday_is_due_although_the_day_of_month_does_not_occur(day: str) -> None:
    schedule = cron.parse(f"0 0 {day} 2 mon")
    assert schedule.next_after(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2097, 2, 4, tzinfo=UTC)


def test_due_times_are_timezone_aware_and_in_the_zone_of_the_schedule() -> None:
    found = cron.parse("CRON_TZ=Asia/Tokyo 0 9 * * *").next_after(datetime(2026, 1, 1, tzinfo=UTC))
    assert found is not None
    assert (found.hour, found.utcoffset()) == (9, timedelta(hours=9))


@pytest.mark.parametrize(
    ("spec", "location", "option"), [("@hourly", "Europe/Berlin", "location"), (5, UTC, "spec")]
)
def test_an_invalid_spec_or_zone_is_refused(spec: Any, location: Any, option: str) -> None:
    with pytest.raises(TypeError, match=f"^{option} must"):
        cron.parse(spec, location)


@pytest.mark.parametrize("spec", ["0 0 1 1 *", "* * * * *", "@every 1h"])
@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "America/Anchorage"])
def test_nothing_is_due_after_the_end_of_the_calendar(spec: str, zone: str) -> None:
    last = datetime.max.replace(microsecond=0, tzinfo=UTC)
    assert cron.parse(spec, ZoneInfo(zone)).next_after(last) is None


def test_a_naive_instant_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        cron.parse("@daily").next_after(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the point


def test_a_wrong_number_of_fields_is_refused_with_the_field_names() -> None:
    with pytest.raises(cron.CronError, match=r"expected minute, hour, .* found 6 fields"):
        cron.parse("* * * * * *")
