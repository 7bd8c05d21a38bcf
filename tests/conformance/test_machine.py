"""The machine: it finds defects, describes them with a way to repeat them, and finds nothing else."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.machine.domain import message
from asynq_conformance.machine.lockstep import DivergenceError
from asynq_conformance.machine.machine import BrokerMachine
from asynq_conformance.machine.run import machine_session, run
from asynq_conformance.machine.sequences import MORE_THAN_A_BATCH
from asynq_conformance.model import invariants
from asynq_mutants.embedded import contents, groups, leases, manage, order, times, unique
from asynq_mutants.harness import BrokenHarness
from asynq_redis.harness import RedisHarness

if TYPE_CHECKING:
    from asynq_sqlite.store.task_store import TaskStore
    from tests.servers import RedisServer

PAGE = Path(__file__).parents[2] / "docs/protocol.md"

CHOSEN: tuple[type[TaskStore], ...] = (
    order.LastInFirstOut,
    leases.AcceptsAnyToken,
    unique.ReleasesForeignLocks,
    times.ForwardsTooLate,
    contents.CountsTwice,
    groups.ForgetsNoSet,
    manage.LeavesThePause,
)
"""One defect of each kind. The laws that name them test all others."""


@pytest.mark.parametrize("store", CHOSEN)
def test_a_store_with_one_broken_step_differs_from_the_model(store: type[TaskStore]) -> None:
    with pytest.raises(DivergenceError) as told:
        run(BrokenHarness(store), 200, 50, shrink=False)
    text = str(told.value)
    assert "to repeat it: python -m pytest" in text
    assert "def test_(self, lab: Lab)" in text


def test_the_message_is_short_and_contains_the_expected_value() -> None:
    with pytest.raises(DivergenceError) as told:
        run(BrokenHarness(contents.CountsTwice), 50, 30)
    text = str(told.value)
    numbered = re.findall(r"^ +\d+ +\+\d", text, re.MULTILINE)
    assert 0 < len(numbered) <= 12
    assert "processed_total: expected 1, got 2" in text


def test_a_task_among_many_others_keeps_its_run(redis_server: RedisServer) -> None:
    # Redis lists lost leases by id, so this task is not among the first, which the program recovers.
    with closing(RedisHarness(redis_server.url)) as harness, machine_session(harness) as session:
        machine = BrokerMachine(session)
        machine.begin(awaited=False, may_fill=True)
        machine.enqueue(message("a", "t7", b"one", None))
        machine.fill_past_batch(queue="a", state=TaskState.ACTIVE, size=MORE_THAN_A_BATCH)
        assert machine.live_run(0).expected.message.id == "t7"
        machine.teardown()


def test_every_invariant_is_documented_in_the_protocol() -> None:
    page = " ".join(PAGE.read_text().split())
    sentences = [(invariant.__doc__ or "").strip() for invariant in invariants.INVARIANTS]
    assert all(sentences)
    assert [sentence for sentence in sentences if sentence not in page] == []


def test_every_operation_is_documented_in_the_protocol() -> None:
    page = PAGE.read_text()
    assert [op.__name__ for op in ops.all_operations() if f"`{op.__name__}`" not in page] == []
