"""Layer C detects bugs that are visible only under concurrency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_mutants.concurrent import SABOTEURS
from asynq_mutants.trials import of_saboteur, record_histories

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("saboteur", SABOTEURS)
def test_a_saboteur_visible_only_under_concurrency_is_detected(saboteur: str, tmp_path: Path) -> None:
    trial = SABOTEURS[saboteur]
    found = record_histories(of_saboteur(saboteur), tmp_path, trial.rules, trial.plan)
    assert found.status == "killed", found
