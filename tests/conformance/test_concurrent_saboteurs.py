"""Layer C notices what only concurrency shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_conformance.histories.checking import check_file
from asynq_conformance.histories.plan import Plan, Source
from asynq_conformance.histories.run import recorded
from tests.conformance.concurrent_saboteurs import SABOTEURS

if TYPE_CHECKING:
    from pathlib import Path

TRIES = 5
"""Chance decides what meets what; one run finds each of them nearly always."""

QUEUES = {"high": 2, "low": 1}


@pytest.mark.parametrize("saboteur", SABOTEURS)
def test_a_saboteur_that_only_concurrency_shows_is_noticed(saboteur: str, tmp_path: Path) -> None:
    for attempt in range(TRIES):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        source = Source(
            factory="tests.conformance.concurrent_saboteurs:open_broker",
            kwargs={"saboteur": saboteur, "path": str(directory / "tasks.db")},
        )
        trial = SABOTEURS[saboteur]
        plan = Plan(seed=attempt, processes=2, queues=QUEUES, seconds=2, patience=15, **trial.plan)
        report = check_file(recorded(source, plan, directory / "run"))
        failed = {name for name in report.verdicts if report.state_of(name) == "FAIL"}
        if failed & set(trial.rules):
            return
    pytest.fail(f"nobody noticed {saboteur}:\n{report}")
