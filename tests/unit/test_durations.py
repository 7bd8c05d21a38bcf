"""Durations in the notation of Go."""

from __future__ import annotations

from datetime import timedelta

import pytest

from asynq.durations import format_duration, parse_duration

PAIRS = [
    ("0s", timedelta()),
    ("1h30m0s", timedelta(hours=1, minutes=30)),
    ("24h0m0s", timedelta(days=1)),
    ("1m30s", timedelta(seconds=90)),
    ("1.5s", timedelta(seconds=1.5)),
    ("1m0.25s", timedelta(seconds=60.25)),
    ("250ms", timedelta(milliseconds=250)),
    ("1.5ms", timedelta(microseconds=1500)),
    ("7µs", timedelta(microseconds=7)),
    ("-1h0m0s", -timedelta(hours=1)),
]


@pytest.mark.parametrize(("text", "duration"), PAIRS)
def test_durations_are_formatted_and_parsed_like_in_go(text: str, duration: timedelta) -> None:
    assert format_duration(duration) == text
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", " 1h", "1", "abc", "1h 30m", "h", "-", "1d", "9999999h", "１s"])
def test_durations_that_go_refuses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("+5s", 5), (".5m", 30), ("1.h", 3600)])
def test_other_go_notations_are_parsed(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
