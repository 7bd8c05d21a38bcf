"""Layer C: many processes at work on one store at the same time, and what their record must not show."""

from __future__ import annotations

import fcntl
import os
import sys
from collections import Counter
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, ClassVar, Final

import pytest
from attrs import frozen

from asynq.clock import FakeClock
from asynq.protocol import ops
from asynq.worker.queue_selection import QueuePriority
from asynq_conformance import evidence, profiles
from asynq_conformance.histories.checkers.weights import first_choices_follow
from asynq_conformance.histories.checking import CHECKERS, check_file
from asynq_conformance.histories.excerpt import draw
from asynq_conformance.histories.plan import Plan, Source
from asynq_conformance.histories.run import RunError, recorded
from asynq_conformance.lab import START, Lab
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq_conformance.harness import Harness
    from asynq_conformance.histories.checking import HistoryReport
    from asynq_conformance.promises import Layer

QUEUE_WEIGHTS: Final = {"high": 6, "mid": 3, "low": 1}
DRAWS: Final = 2000

_MOST_SECONDS: Final = 45.0


@frozen
class Judged:
    """A recorded run, and what the checkers say of it."""

    record: Path
    report: HistoryReport


_judged: dict[Path, Judged] = {}
"""The runs that were judged in this process."""


def source_of(harness: Harness) -> Source:
    """How other processes open the store of the harness's last `open`. Skips where none can."""
    found = harness.factory()
    if found is None:
        pytest.skip("no other process can open this store: the harness has no factory")
    factory, kwargs = found
    return Source(factory=factory, kwargs=kwargs, resend_after=harness.resend_after)


def planned() -> Plan:
    """What the profile asks of one run; without a seed its first one, or any, as the profile says."""
    profile = profiles.current()
    seed = profiles.seed()
    if seed is None:
        seed = 0 if profile.derandomized else Random().randrange(2**32)
    seconds = min(2.5 * profile.seconds, _MOST_SECONDS)
    return Plan(seed=seed, processes=profile.processes, seconds=seconds, tasks=int(500 * seconds))


class HistoryLaws:
    """Records one run for each class of tests, however many processes run them, and judges it by all rules.

    A history that was not drained to its end is unknown, and what is unknown does not pass.
    """

    layer: ClassVar[Layer] = "C"

    @pytest.fixture
    def concurrent_run(
        self, harness: Harness, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
    ) -> Judged:
        """The run and what the checkers say of it; the first test that asks has it recorded."""
        base = tmp_path_factory.getbasetemp()
        # Beside the folders of all processes that run these tests.
        base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
        directory = base / f"history-{request.cls.__module__}.{request.cls.__qualname__}"
        path = directory / "history.jsonl.gz"
        if path not in _judged:
            with _locked(directory):
                if not path.exists():
                    _record(harness, directory)
            _judged[path] = Judged(path, check_file(path))
        return _judged[path]

    @pytest.fixture
    def verdict(self, concurrent_run: Judged) -> Callable[[str], None]:
        """Fails unless a checker found the run in order; tells on what it judged, and shows what was not."""

        def judge(name: str) -> None:
            report = concurrent_run.report
            found = report.verdicts[name]
            if name == CHECKERS[0].name:
                evidence.count(**report.counts)
            counts = ", ".join(f"{count:,} {what}" for what, count in report.counts.items())
            sys.stdout.write(f"{counts}\n{name}: {report.state_of(name)}, {found.judged:,} judged\n")
            if found.violations:
                draw(concurrent_run.record, found.violations)
            again = f"python -m asynq_conformance check {concurrent_run.record}"
            if found.violations:
                pytest.fail(f"{report.of_one(name)}\n{again}")
            reason = found.unknown or report.incomplete
            reason = reason or ("" if found.judged else "this history holds nothing to judge by")
            if reason:
                evidence.unknown(reason)
                pytest.fail(f"unknown: {reason}\n{again}")

        return judge

    @promise("G1")
    def test_at_once_no_acknowledged_task_is_lost(self, verdict: Callable[[str], None]) -> None:
        verdict("C1")

    @promise("G2")
    def test_at_once_what_is_handed_out_was_enqueued(self, verdict: Callable[[str], None]) -> None:
        verdict("C2")

    @promise("G3")
    def test_at_once_a_lease_is_exclusive(self, verdict: Callable[[str], None]) -> None:
        verdict("C3")

    @promise("G3")
    def test_at_once_stale_runs_are_refused(self, verdict: Callable[[str], None]) -> None:
        verdict("C4")

    @promise("G4")
    def test_at_once_a_lock_has_one_owner(self, verdict: Callable[[str], None]) -> None:
        verdict("C5")

    @promise("G5")
    def test_at_once_preferred_queues_come_first(self, verdict: Callable[[str], None]) -> None:
        verdict("C6")

    @promise("G7")
    def test_at_once_a_queue_is_first_in_first_out(self, verdict: Callable[[str], None]) -> None:
        verdict("C7")

    @promise("G8")
    def test_at_once_counters_count_what_happened(self, verdict: Callable[[str], None]) -> None:
        verdict("C8")

    @promise("G9")
    def test_at_once_nothing_is_early_or_forgotten(self, verdict: Callable[[str], None]) -> None:
        verdict("C9")

    @promise("G10", "G2")
    def test_at_once_nothing_finished_is_handed_out(self, verdict: Callable[[str], None]) -> None:
        verdict("C10")

    @promise("G10")
    def test_at_once_refused_tasks_do_not_exist(self, verdict: Callable[[str], None]) -> None:
        verdict("C11")

    @promise("G10")
    def test_at_once_small_queues_are_linearizable(self, verdict: Callable[[str], None]) -> None:
        verdict("C12")

    @promise("G7")
    def test_at_once_sequences_run_in_turn(self, harness: Harness, verdict: Callable[[str], None]) -> None:
        broker = harness.open(FakeClock(START))
        unsupported = broker.capabilities.unsupported
        broker.close()
        if ops.AdvanceSequences in unsupported:
            pytest.skip("unsupported: sequences")
        verdict("C13")

    @promise("G6")
    def test_while_no_queue_is_empty_each_is_served_by_its_weight(self, harness: Harness) -> None:
        """False alarms: one in a million seeds; none while the seed stays."""
        lab = Lab(harness, "plain")
        try:
            orders = QueuePriority.of(QUEUE_WEIGHTS).orders(DRAWS, Random(planned().seed))
            for queue, wanted in Counter(order[0] for order in orders).items():
                lab.enqueue_all([f"{queue}-{number}" for number in range(wanted)], queue)
            served: list[str] = []
            for start in range(0, DRAWS, ops.MAX_BATCH):
                batch = orders[start : start + ops.MAX_BATCH]
                taken = lab.execute(ops.Dequeue(orders=batch, token=lab.fresh(), lease=60_000))
                served += [delivery.message.queue for delivery in taken]
                assert Counter(served[start:]) == Counter(order[0] for order in batch)
            assert first_choices_follow([[queue] for queue in served], QUEUE_WEIGHTS)
        finally:
            lab.close()


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One process at a time; the lock ends with whoever holds it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _record(harness: Harness, directory: Path) -> None:
    failure = directory / "failure.txt"
    if failure.exists():
        pytest.fail(failure.read_text())
    harness.open(FakeClock(START)).close()
    source = source_of(harness)
    try:
        recorded(source, planned(), directory)
    except RunError as error:
        failure.write_text(str(error))
        raise
