"""Rates over the time watched."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from asynq import QueueInfo
from asynq.dash.model.series import MAX_QUEUES, MAX_SAMPLES, Series, Watched
from asynq.dash.widgets.cells import fitted, short_count, sparkline
from asynq.dash.widgets.chart import bars


def info(queue: str, processed: int, failed: int = 0, latency: float = 0) -> QueueInfo:
    zeros: dict[str, Any] = dict.fromkeys(
        "size pending active scheduled retry archived completed aggregating groups processed failed".split(),
        0,
    )
    return QueueInfo(
        queue=queue,
        processed_total=processed,
        failed_total=failed,
        paused=False,
        latency=timedelta(seconds=latency),
        memory=None,
        **zeros,
    )


def test_throughput_is_the_growth_of_a_counter() -> None:
    series = Series()
    for second, processed in enumerate((100, 110, 110, 140)):
        series.add(float(second), processed, 0, 0)
    assert series.throughput(3.0, 3.0, 3) == [10, 0, 30]
    assert series.throughput(3.0, 6.0, 3) == [None, 10, 15]
    assert series.rate(3.0) == pytest.approx(40 / 3)


def test_a_time_in_which_nothing_was_read_has_its_mean() -> None:
    series = Series()
    series.add(0.0, 0, 0, 0)
    series.add(10.0, 50, 10, 0)
    assert series.throughput(10.0, 10.0, 5) == [5] * 5
    assert series.failure_rate(10.0, 10.0, 2) == [0.2, 0.2]


def test_a_counter_that_was_reset_begins_anew() -> None:
    series = Series()
    for second, processed in enumerate((100, 110, 3, 5)):
        series.add(float(second), processed, 0, 0)
    assert series.throughput(3.0, 3.0, 3) == [None, None, 2]


def test_latency_is_the_longest_of_each_part() -> None:
    series = Series()
    for second, latency in enumerate((1, 5, 2, 3)):
        series.add(float(second), 0, 0, latency)
    assert series.latency(3.0, 3.0, 3) == [5, 5, 3]


def test_a_series_is_bounded_and_keeps_its_ends() -> None:
    series = Series()
    for second in range(10 * MAX_SAMPLES):
        series.add(float(second), second, 0, 0)
    assert len(series) <= MAX_SAMPLES
    end = 10.0 * MAX_SAMPLES - 1
    assert series.watched == end
    assert series.throughput(end, end, 4) == [pytest.approx(1.0)] * 4


def test_new_and_deleted_queues_are_no_jump_of_the_sum() -> None:
    watched = Watched()
    watched.add_all([info("a", 100)], 0.0)
    watched.add_all([info("a", 110), info("b", 5000)], 1.0)
    watched.add_all([info("b", 5002)], 2.0)
    assert watched.all.throughput(2.0, 2.0, 2) == [10, 2]
    assert watched.of("a").rate(2.0) is None


def test_only_some_queues_have_a_series_of_their_own() -> None:
    watched = Watched()
    for at in (0.0, 1.0):
        watched.add_all([info(f"q{n:05d}", int(at)) for n in range(MAX_QUEUES + 10)], at)
    assert watched.all.rate(1.0) == MAX_QUEUES + 10
    assert watched.of("q00000").rate(1.0) == 1
    assert watched.of(f"q{MAX_QUEUES:05d}").rate(1.0) is None


def test_bars_are_as_high_as_their_values() -> None:
    assert bars([0.0, 1.0, 8.0, 16.0, None], 2, 16.0) == ["   █ ", " ▁██ "]
    assert bars([0.001], 1, 100.0) == ["▁"]
    assert sparkline([None, 0.0, 1.0, 2.0]) == " ▁▅█"


def test_texts_fit_into_their_columns() -> None:
    assert fitted("abc", 5) == "abc  "
    assert fitted("abc", 5, right=True) == "  abc"
    assert fitted("abcdef", 4) == "abc…"
    assert fitted("日本語", 4) == "日 …"
    assert fitted("abc", 0) == ""
    assert fitted("abcdef", 4, keep="end") == "…def"
    assert fitted("日本語", 4, keep="end") == "… 語"
    assert fitted("abc", 5, keep="end") == "abc  "
    assert [short_count(n) for n in (999, 1234, 123_456, 2_000_000)] == ["999", "1.2k", "123k", "2.0M"]
