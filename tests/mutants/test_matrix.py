"""The kill matrix: all layers are tested, survivors are errors, and the file contains the results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from asynq_conformance import profiles
from asynq_mutants import matrix
from asynq_mutants.bugs import BUGS
from asynq_mutants.kills import KILLED, SURVIVED, LayerResult, totals
from asynq_mutants.rows import MatrixRow, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq_conformance.promises import Layer


@pytest.fixture(autouse=True)
def the_profile_is_left_alone() -> Iterator[None]:
    before = profiles.chosen()
    yield
    profiles.choose(profile=before.profile, seed=before.seed)


def row(must: tuple[Layer, ...], **found: str) -> MatrixRow:
    """A bug with these results by layer."""
    trials = {layer: lambda _, status=status: LayerResult(status=status) for layer, status in found.items()}
    return MatrixRow(id="0", bug="a bug", must=must, trials=trials, beyond={})  # type: ignore[arg-type]


def test_every_bug_has_a_row_with_every_layer_that_must_catch_it() -> None:
    found = rows()
    assert [each.id for each in found][: len(BUGS)] == [str(number) for number in BUGS]
    assert [each.id for each in found if not each.must or not {*each.must} <= each.trials.keys()] == []


@pytest.mark.timeout(300)  # it records a history
def test_each_layer_catches_its_bugs_and_the_file_contains_the_effort(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "matrix.json"
    assert matrix.main(["29", "48", "--profile=smoke", f"--json={path}"]) == 0
    printed = capsys.readouterr().out
    assert "1/2  29 last in, first out" in printed
    assert "2 of 2 killed by every required layer" in printed
    assert "layer B: 2 of 2 killed" in printed
    found = json.loads(path.read_text())["bugs"]
    assert [(one["id"], one["status"]) for one in found] == [("29", KILLED), ("48", KILLED)]
    layers = found[0]["layers"]
    assert layers["A"]["by"] == "test_tasks_are_delivered_in_the_order_of_enqueueing"
    assert (layers["B"]["of"], layers["C"]["of"]) == ("programs", "tasks")
    assert f"{layers['C']['tried']} tasks" in printed


def test_a_bug_that_survives_a_layer_that_must_catch_it_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for must, status in (("A", 0), ("B", matrix.MISSED)):
        monkeypatch.setattr(matrix, "rows", lambda must=must: [row((must,), A=KILLED, B=SURVIVED)])
        assert matrix.main(["0"]) == status
    assert "0 a bug: survived B, must be killed by B" in capsys.readouterr().out


def test_an_accused_correct_broker_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(matrix, "rows", list)
    for status, code in ((SURVIVED, 0), (KILLED, matrix.MISSED)):
        monkeypatch.setattr(matrix, "CORRECT_BROKER", row((), B=status))
        assert matrix.main([]) == code
    assert "these results are not reliable" in capsys.readouterr().out


def test_an_untested_bug_does_not_count_as_killed() -> None:
    assert matrix.tried(row(("D",), D=""), ["D"]).status == "not tried"
    assert matrix.tried(row(("A", "B"), A=KILLED, B=""), ["A", "B"]).status == KILLED


def test_an_unknown_bug_or_layer_is_reported(capsys: pytest.CaptureFixture[str]) -> None:
    assert matrix.main(["999", "--layers=A,X"]) == matrix.REFUSED
    assert "999, X" in capsys.readouterr().err


def test_totals_count_only_tested_bugs() -> None:
    found = [matrix.tried(row((), A=status), ["A"]) for status in (KILLED, SURVIVED, "")]
    [total] = totals(found)
    assert (total.killed, total.tried, total.counted, total.median) == (1, 2, 0, None)
