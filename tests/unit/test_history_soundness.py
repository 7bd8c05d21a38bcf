"""No rule accuses a correct broker, however its calls overlap."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynq_conformance.histories.checking import check
from asynq_conformance.model import ModelBroker
from asynq_sqlite import MemoryBroker
from tests.unit.simulated_failover import FAILOVER, FailingOverBroker
from tests.unit.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from asynq_conformance.histories.checking import HistoryReport
    from asynq_conformance.histories.history import LossWindow

BROKERS: dict[str, Callable[[FakeClock], Broker]] = {
    "sqlite": lambda clock: MemoryBroker(clock=clock),
    "model": lambda clock: ModelBroker(clock=clock),
}


RESEND_AFTER = 20


def simulated(
    make: Callable[[FakeClock], Broker],
    seed: int,
    callers: int,
    steps: int,
    *,
    resend_after: int | None = None,
    windows: Sequence[LossWindow] = (),
) -> HistoryReport:
    with tempfile.TemporaryDirectory() as directory:
        simulation = Simulation(make, Random(seed), Path(directory), callers, resend_after=resend_after)
        return check(simulation.run(steps), windows=windows)


@pytest.mark.parametrize("broker", BROKERS)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), callers=st.integers(2, 12))
def test_a_correct_broker_is_never_accused(broker: str, seed: int, callers: int) -> None:
    report = simulated(BROKERS[broker], seed, callers, steps=400)
    assert report.state == "ok", str(report)


@pytest.mark.parametrize("broker", BROKERS)
def test_a_long_history_exercises_every_rule(broker: str) -> None:
    report = simulated(BROKERS[broker], seed=3, callers=8, steps=4000)
    assert report.state == "ok", str(report)
    assert all(verdict.judged for verdict in report.verdicts.values()), str(report)


@pytest.mark.parametrize("broker", BROKERS)
@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), callers=st.integers(2, 12))
def test_right_broker_whose_replies_are_lost_is_never_accused(broker: str, seed: int, callers: int) -> None:
    report = simulated(BROKERS[broker], seed, callers, steps=600, resend_after=RESEND_AFTER)
    assert report.state == "ok", str(report)


@pytest.mark.parametrize("resend_after", [None, RESEND_AFTER])
@settings(max_examples=6, deadline=None, derandomize=True, database=None)
@given(seed=st.integers(0, 2**32), callers=st.integers(2, 12))
def test_a_correct_broker_that_fails_over_is_never_accused(
    resend_after: int | None, seed: int, callers: int
) -> None:
    report = simulated(
        FailingOverBroker, seed, callers, steps=600, resend_after=resend_after, windows=[FAILOVER]
    )
    assert report.state == "ok", str(report)


def test_a_loss_of_writes_that_reads_have_shown_is_noticed_without_a_window() -> None:
    report = simulated(FailingOverBroker, seed=1, callers=8, steps=600)
    assert report.state_of("C12") == "FAIL", str(report)
