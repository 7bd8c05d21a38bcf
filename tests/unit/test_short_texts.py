from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from asynq.runtime.plain import plain
from asynq.runtime.short_texts import from_now, percent, plural, short_duration, size

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.02, "20ms"), (1.5, "1.5s"), (2, "2s"), (59.6, "1m"), (60, "1m"), (61, "1m 1s"),
        (3600, "1h"), (3661, "1h 1m"), (86_400, "1d"), (90_000, "1d 1h"), (86_399.9, "1d"),
    ],
)  # fmt: skip
def test_a_duration_is_shown_by_its_two_largest_units(seconds: float, text: str) -> None:
    assert short_duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "now"), (90, "in 1m 30s"), (-90, "1m 30s ago")])
def test_an_instant_is_shown_relative_to_the_present(seconds: float, text: str) -> None:
    assert from_now(NOW + timedelta(seconds=seconds), NOW) == text


def test_numbers_are_shown_in_short() -> None:
    assert [size(None), size(999), size(1_234_567)] == ["", "999 B", "1.2 MB"]
    assert [percent(1, 8), percent(0, 0)] == ["12.5%", ""]
    assert [plural(1, "task"), plural(1200, "task")] == ["1 task", "1,200 tasks"]


def test_json_has_instants_in_utc_and_durations_in_seconds() -> None:
    value = {"at": NOW, "for": timedelta(minutes=1), "payload": b"\xff", "result": None, "ids": ("a",)}
    assert plain(value) == {
        "at": "2026-01-01T00:00:00Z",
        "for": 60.0,
        "payload": None,
        "payload_base64": "/w==",
        "result": None,
        "result_base64": None,
        "ids": ["a"],
    }
