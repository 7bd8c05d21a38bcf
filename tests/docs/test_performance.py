"""The figures in docs/performance.md are those of docs/performance.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asynq.bench.page import update
from asynq.bench.rows import ALL_ROWS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "performance.md").read_text()
REPORT = json.loads((DOCS / "performance.json").read_text())


def test_the_page_shows_the_figures_of_the_report() -> None:
    assert update(PAGE, REPORT) == PAGE


def test_the_report_has_every_row_with_its_floor() -> None:
    assert [(row["name"], row["floor"], row["goal"]) for row in REPORT["rows"]] == [
        (row.name, row.floor, row.goal) for row in ALL_ROWS
    ]


def test_the_report_was_measured_with_enough_tasks() -> None:
    assert not REPORT["quick"]
    assert REPORT["repetitions"] >= 3


def test_the_page_describes_every_field_of_the_report() -> None:
    described = PAGE.partition("## Report")[2]
    fields = {*REPORT, *REPORT["rows"][0], *REPORT["machine"], *REPORT["rows"][0]["measured"]}
    assert [field for field in fields if f"`{field}`" not in described] == []


def test_a_page_without_a_place_for_a_figure_is_refused() -> None:
    with pytest.raises(ValueError, match="<!-- sizes -->"):
        update(PAGE.replace("<!-- sizes -->", ""), REPORT)
