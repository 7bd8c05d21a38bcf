"""The layer of disturbances: lost tasks and slow recoveries are detected."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from asynq_conformance.disturbances import Disturbance
from asynq_conformance.disturbances.disturbance import DisturbedRun, disturbed
from asynq_conformance.disturbances.judge import judge
from asynq_conformance.disturbances.laws import DISTURBED_PLAN
from asynq_conformance.histories.plan import Source
from asynq_conformance.histories.record import read
from asynq_conformance.histories.resends import KILL
from asynq_conformance.histories.run import HistoryRun
from asynq_sqlite.harness import SQLiteHarness
from asynq_topologies.layout import NODE_TIMEOUT
from tests.conformance.breakable_redis import BreakableRedis
from tests.conformance.redis_disturbances import replacing
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq_topologies import Topology
    from asynq_topologies.layout import TopologyKind
    from asynq_topologies.node import Node


@pytest.fixture
def harness() -> Iterator[BreakableRedis]:
    with BreakableRedis("standalone", safe=False) as harness:
        yield harness


def test_a_killed_process_is_recorded_once_it_does_nothing_more(tmp_path: Path) -> None:
    """A busy machine lets a process go on for a while, with calls that would seem to begin after its end."""
    factory, kwargs = SQLiteHarness(f"sqlite:///{tmp_path}/tasks.db").factory()
    with HistoryRun(Source(factory=factory, kwargs=kwargs), DISTURBED_PLAN, tmp_path / "run") as run:
        run.start()
        [worker, *_] = run.workers
        part = run.part(worker.role.process)
        write_down = run.note

        def written() -> int:
            return part.stat().st_size if part.exists() else 0

        def note(what: str, **facts: Any) -> None:
            write_down(what, **facts)
            before = written()
            eventually(lambda: not worker.runs or written() > before)

        run.note = note  # type: ignore[method-assign]
        eventually(lambda: written() > 10_000)
        run.kill(worker)
        run.stop()
        run.wait()
        run.drain()
    events = list(read(run.record))
    [killed] = [event.at for event in events if event.op == KILL]
    assert all(event.at <= killed for event in events if event.process == worker.role.process)


def outcome(harness: BreakableRedis, directory: Path, strike: Any) -> DisturbedRun:
    factory, kwargs = harness.factory()
    return disturbed(
        Source(factory=factory, kwargs=kwargs), DISTURBED_PLAN, directory, Disturbance(strike=strike)
    )


def lose_tasks(harness: BreakableRedis) -> None:
    """Delete everything from the queues."""
    harness.topology.nodes[0].client.flushall()


def test_lost_tasks_are_detected_unless_the_loss_is_allowed(harness: BreakableRedis, tmp_path: Path) -> None:
    def strike(run: HistoryRun) -> None:
        lose_tasks(harness)

    found = outcome(harness, tmp_path, strike)
    assert any("nobody ended it" in failure for failure in judge(found, may_lose=False).failures)
    excused = judge(found, may_lose=True)
    assert excused.figures["excused"] > 0


def test_tasks_lost_before_the_disturbance_are_not_excused(harness: BreakableRedis, tmp_path: Path) -> None:
    def strike(run: HistoryRun) -> None:
        lose_tasks(harness)

    found = outcome(harness, tmp_path, strike)
    late = DisturbedRun(
        record=found.record,
        began=found.ended + 60_000_000_000,
        ended=found.ended + 61_000_000_000,
        healed=found.healed,
        drained=found.drained,
    )
    assert judge(late, may_lose=True).failures


def test_a_slow_store_is_detected(harness: BreakableRedis, tmp_path: Path) -> None:
    node = harness.topology.nodes[0]
    later = threading.Timer(2.0, node.resume)

    def strike(run: HistoryRun) -> None:
        node.pause()
        later.start()

    found = outcome(harness, tmp_path, strike)
    later.join()
    assert found.slowest > 1.0
    assert judge(found, may_lose=False).failures == []


def is_replaced_when_held_up(topology: Topology, primary: Node) -> bool:
    """Hold a primary up, as a busy machine does."""
    replicas = eventually(lambda: topology.replicas_of(primary))
    primary.pause()
    let_pass(3 * NODE_TIMEOUT / 1000)
    primary.resume()
    return any(replica.role() == "master" for replica in replicas)


@pytest.mark.parametrize("kind", ["sentinel", "cluster"])
def test_a_primary_is_replaced_only_while_a_disturbance_lets_it(kind: TopologyKind) -> None:
    with BreakableRedis(kind, safe=False) as harness:
        topology = harness.topology
        [primary, *_] = topology.primaries()
        replicas = topology.replicas_of(primary)
        assert not is_replaced_when_held_up(topology, primary)
        with replacing(topology, primary):
            primary.pause()
        primary.resume()
        [successor] = [replica for replica in replicas if replica.role() == "master"]
        assert not is_replaced_when_held_up(topology, successor)
