"""The figures in docs/performance.md and docs/comparison.md are those of docs/performance.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asynq.bench.page import update
from asynq.bench.rows import ALL_ROWS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "performance.md").read_text()
REPORT = json.loads((DOCS / "performance.json").read_text())


@pytest.mark.parametrize("page", ["performance", "comparison"])
def test_a_page_shows_the_figures_of_the_report(page: str) -> None:
    text = (DOCS / f"{page}.md").read_text()
    assert update(text, REPORT) == text


def test_the_page_has_all_tables() -> None:
    places = ("machine", "results", "comparison", "systems", "sizes")
    assert [place for place in places if f"<!-- {place} -->" not in PAGE] == []


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


@pytest.mark.parametrize("comment", ["<!-- sizes -->", "<!-- /sizes -->"])
def test_a_page_with_half_a_place_for_a_figure_is_refused(comment: str) -> None:
    with pytest.raises(ValueError, match="<!-- sizes -->"):
        update(PAGE.replace(comment, ""), REPORT)


def test_a_page_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="a place for none"):
        update("# Comparison", REPORT)
