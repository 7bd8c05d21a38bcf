"""The geometry of charts."""

from __future__ import annotations

import pytest

from asynq.web.pages import charts


def test_a_line_spans_the_drawing_area() -> None:
    assert charts.line([0, 5, 10], 10) == "0.0,100.0 300.0,50.0 600.0,0.0"
    assert charts.area([0, 5, 10], 10) == f"0.0,100 {charts.line([0, 5, 10], 10)} 600,100"


def test_one_value_is_no_line() -> None:
    assert charts.line([1], 1) == charts.area([], 1) == ""


def test_values_that_are_fewer_than_their_places_end_at_the_right() -> None:
    assert charts.line([0, 10], 10, places=3) == "300.0,100.0 600.0,0.0"
    assert charts.area([0, 10], 10, places=3) == "300.0,100 300.0,100.0 600.0,0.0 600,100"


@pytest.mark.parametrize(
    ("used", "of", "kind", "width"), [(1, 4, "", 25), (4, 4, "full", 100), (5, 4, "full", 100), (0, 0, "", 0)]
)
def test_a_gauge_is_full_where_all_is_used(used: int, of: int, kind: str, width: float) -> None:
    box = charts.gauge(used, of)
    assert (box.kind, box.width) == (kind, width)


def test_shares_fill_the_bar_and_none_vanishes() -> None:
    boxes = charts.share_bar([("pending", 1_000_000), ("retry", 0), ("archived", 1)])
    assert [box.kind for box in boxes] == ["pending", "archived"]
    assert sum(box.width for box in boxes) == pytest.approx(100, abs=0.1)
    assert boxes[1].width > 1
    assert charts.share_bar([("pending", 0)]) == []


def test_days_stand_on_the_ground() -> None:
    failed, succeeded, *rest = charts.columns([("Monday", 30, 10), ("Tuesday", 0, 0)])
    assert (failed.kind, failed.y, failed.height) == ("failed", 75, 25)
    assert (succeeded.kind, succeeded.y, succeeded.height) == ("succeeded", 0, 75)
    assert all(box.height == 0 for box in rest)
    assert charts.columns([]) == []


@pytest.mark.parametrize(
    ("highest", "top"), [(0, 1), (1, 1), (1.5, 2), (3, 5), (7, 10), (18, 20), (480, 500)]
)
def test_the_top_is_round(highest: float, top: float) -> None:
    assert charts.round_top([0, highest]) == top
