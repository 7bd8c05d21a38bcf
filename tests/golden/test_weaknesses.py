"""For each known weakness of Go asynq, tests show that it is fixed, or a decision record says what remains.

weaknesses.json names the tests. Each of them fails if a store or a worker behaves like Go asynq.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DECISIONS = ROOT / "docs" / "decisions"
TABLE: list[dict[str, Any]] = json.loads(Path(__file__).with_name("weaknesses.json").read_text())
KNOWN = 46
"""Number of weaknesses found in Go asynq."""


def names_of_tests() -> set[str]:
    """The names of all tests and laws."""
    places = (ROOT / "tests", ROOT / "conformance" / "asynq_conformance")
    return {
        name
        for place in places
        for path in place.rglob("*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text())
    }


def kept(record: Path) -> set[str]:
    """The weaknesses with a line in the decision record."""
    return set(re.findall(r"^\| (W\d+) \|", record.read_text(), re.MULTILINE))


def test_every_known_weakness_is_in_the_table_once() -> None:
    assert [row["id"] for row in TABLE] == [f"W{number}" for number in range(1, KNOWN + 1)]


def test_the_named_tests_exist() -> None:
    there = names_of_tests()
    assert [(row["id"], name) for row in TABLE for name in row["tests"] if name not in there] == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["id"])
def test_every_weakness_is_tested_or_recorded_as_remaining(row: dict[str, Any]) -> None:
    assert row["tests"] or "stays" in row
    assert "stays" not in row or row["id"] in kept(DECISIONS / row["stays"])


def test_a_record_has_no_line_for_a_fixed_weakness() -> None:
    stays = {(row["stays"], row["id"]) for row in TABLE if "stays" in row}
    records = {record for record, _ in stays}
    assert {(record, name) for record in records for name in kept(DECISIONS / record)} == stays
