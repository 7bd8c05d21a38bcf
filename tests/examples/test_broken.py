"""A copy of the example with one broken step fails, with a readable message."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq_conformance import BrokerConformance, Harness
from asynq_conformance.histories.checking import check_file
from asynq_conformance.histories.plan import Plan, Source
from asynq_conformance.histories.run import HistoryRun
from asynq_conformance.lab import Lab
from asynq_conformance.laws.settle import SETTLEMENTS
from asynq_lmdb import LmdbBroker
from asynq_lmdb.store import Store
from tests.examples.broken import LastInFirstOut, Unfenced

if TYPE_CHECKING:
    from asynq.clock import FakeClock
    from asynq_conformance.histories.checking import HistoryReport

ROOT = Path(__file__).parents[2]


class WithStore(Harness):
    """The example's broker with these operations."""

    def __init__(self, path: Path, store: type[Store]) -> None:
        self.path, self.store = path, store

    def open(self, clock: FakeClock) -> LmdbBroker:
        return LmdbBroker(self.path, clock=clock, store=self.store)


def hold_against_law(path: Path, store: type[Store], law: str) -> None:
    parameters = {"settle": SETTLEMENTS["done"]} if "token" in law else {}
    with closing(Lab(WithStore(path, store), "plain")) as lab:
        getattr(BrokerConformance(), law)(lab, **parameters)


@pytest.mark.parametrize(
    ("store", "law"),
    [
        (Unfenced, "test_a_stale_token_changes_nothing"),
        (LastInFirstOut, "test_tasks_are_delivered_in_the_order_of_enqueueing"),
    ],
)
def test_a_law_detects_a_broken_step(tmp_path: Path, store: type[Store], law: str) -> None:
    hold_against_law(tmp_path / "sound", Store, law)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        hold_against_law(tmp_path / "broken", store, law)


def recorded(factory: str, directory: Path) -> HistoryReport:
    """The verdict of the checkers on three working processes."""
    source = Source(factory=factory, kwargs={"path": str(directory / "tasks.lmdb")})
    plan = Plan(processes=3, callers=4, seconds=2.0, tasks=600)
    with HistoryRun(source, plan, directory / "run") as run:
        run.start()
        run.wait()
        run.drain()
    return check_file(run.record)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Child processes find the example and the tests."""
    folders = [str(ROOT), str(ROOT / "examples/asynq_lmdb"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(folders))


def test_a_history_detects_a_broken_step(tmp_path: Path) -> None:
    report = recorded("tests.examples.broken:last_in_first_out", tmp_path)
    assert report.state_of("C7") == "FAIL"
    violation = next(iter(report.verdicts["C7"].violations))
    assert {"Enqueue", "Dequeue"} <= {type(call.op).__name__ for call in violation.calls}
    assert len(str(violation).splitlines()) > 1
