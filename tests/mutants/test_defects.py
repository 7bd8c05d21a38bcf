"""Every intentional defect is caught by the law that names it, and the correct broker passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import asynq_mutants.embedded  # noqa: F401 - it registers them
from asynq_mutants.defects import DEFECTS, Defect
from asynq_mutants.trials import CATCHES, hold

if TYPE_CHECKING:
    from pathlib import Path

every_defect = pytest.mark.parametrize(
    "defect", DEFECTS, ids=[f"{defect.name}-{defect.law}" for defect in DEFECTS]
)


@every_defect
def test_a_defect_is_caught(defect: Defect, tmp_path: Path) -> None:
    with pytest.raises(CATCHES):
        hold(defect, defect.broken, tmp_path)


@every_defect
def test_a_correct_broker_passes_the_same_law(defect: Defect, tmp_path: Path) -> None:
    hold(defect, None, tmp_path)
