"""The list of bugs that every suite must catch, and their implementations."""

from __future__ import annotations

import asynq_mutants.embedded
import asynq_mutants.plugin  # noqa: F401 - they register them
from asynq_mutants.bugs import BUGS
from asynq_mutants.defects import DEFECTS
from asynq_mutants.patches import PATCHES


def test_the_numbers_of_bugs_have_no_gap() -> None:
    assert list(BUGS) == list(range(1, 95))


def test_every_bug_is_implemented() -> None:

    in_brokers = {defect.bug for defect in DEFECTS} - {None}
    assert in_brokers | PATCHES.keys() == BUGS.keys()
    assert not in_brokers & PATCHES.keys()
