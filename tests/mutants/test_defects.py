"""Every broker broken on purpose is caught by the law that names it, and only because it is broken."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

import asynq_mutants.embedded  # noqa: F401 - it registers them
from asynq.errors import AsynqError
from asynq_conformance import BrokerConformance
from asynq_conformance.lab import Lab
from asynq_conformance.laws.settle import SETTLEMENTS
from asynq_conformance.laws.unique import UNTIL_DONE
from asynq_mutants.defects import DEFECTS, Broken, Defect, broken_harness

if TYPE_CHECKING:
    from pathlib import Path

NAMED: dict[str, dict[str, Any]] = {"settle": {**SETTLEMENTS}, "unique": {"until done": UNTIL_DONE}}
"""Parameters that have no short spelling of their own."""


def check(defect: Defect, broken: Broken | None, folder: Path) -> None:
    """Hold a broker against the law of this defect."""
    parameters = {
        name: NAMED[name][value] if name in NAMED else value for name, value in defect.parameters.items()
    }
    path = folder / "tasks.db" if defect.on_file else None
    with ExitStack() as stack:
        lab = Lab(stack.enter_context(broken_harness(broken, path)), "plain")
        stack.callback(lab.close)
        getattr(BrokerConformance(), defect.law)(lab, **parameters)


every_defect = pytest.mark.parametrize(
    "defect", DEFECTS, ids=[f"{defect.name}-{defect.law}" for defect in DEFECTS]
)


@every_defect
def test_a_defect_is_caught(defect: Defect, tmp_path: Path) -> None:
    with pytest.raises((AssertionError, AsynqError, ValueError, pytest.fail.Exception)):
        check(defect, defect.broken, tmp_path)


@every_defect
def test_an_honest_broker_passes_the_same_law(defect: Defect, tmp_path: Path) -> None:
    check(defect, None, tmp_path)
