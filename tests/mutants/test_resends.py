"""Re-sent operations excuse only their possible effects: broken locks are still detected."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from asynq_conformance.disturbances.disturbance import disturbed
from asynq_conformance.disturbances.judge import judge
from asynq_conformance.disturbances.laws import DISTURBED_PLAN
from asynq_conformance.histories.checkers.locks import LockedTwice, RefusedByNobody
from asynq_mutants.harness import mended
from asynq_mutants.resends import REPLIES_LOST, resending

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_conformance.histories.checkers.verdict import Violation

PLAN = evolve(DISTURBED_PLAN, locked=0.6)


@pytest.mark.parametrize(
    ("defect", "violation"), [(None, None), ("KeepsLocks", RefusedByNobody), ("TakesNoLock", LockedTwice)]
)
def test_broken_locks_are_noticed_while_operations_are_sent_again(
    defect: str | None, violation: type[Violation] | None, tmp_path: Path
) -> None:
    source = resending(defect, tmp_path / "tasks.db")
    with mended():
        run = disturbed(source, PLAN, tmp_path / "run", REPLIES_LOST)
    verdict = judge(run, may_lose=False)
    found = {type(one) for one in verdict.report.violations}
    assert found == ({violation} if violation else set()), str(verdict.report)
