"""The list of bugs every suite must catch, and what stands for each of them here."""

from __future__ import annotations

import asynq_mutants.embedded  # noqa: F401 - it registers them
from asynq_mutants.bugs import BUGS
from asynq_mutants.defects import DEFECTS


def test_the_numbers_have_no_gap() -> None:
    assert list(BUGS) == list(range(1, 78))


def test_every_bug_of_a_broker_is_made_here() -> None:
    of_a_broker = set(range(1, 65)) - {34, 35, 36}
    assert {defect.bug for defect in DEFECTS} - {None} == of_a_broker
