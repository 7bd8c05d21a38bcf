"""QueueAgenda: which queues a background loop asks next."""

from __future__ import annotations

import pytest

from asynq.clock import FakeClock
from asynq.protocol.broker_time import BrokerTime
from asynq.worker.loops.queue_agenda import QueueAgenda
from asynq.worker.loops.queue_sweep import MAX_QUEUES_PER_STEP

NOW = 1_700_000_000_000
LONG = 1000.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(NOW)


def agenda_of(clock: FakeClock, *queues: str, interval: float = LONG) -> QueueAgenda:
    """An agenda whose first turn, which asks every queue, is over."""
    agenda = QueueAgenda(queues, lambda: interval, BrokerTime(clock))
    assert agenda.take() == list(queues)
    return agenda


async def test_between_two_turns_only_changed_queues_are_asked(clock: FakeClock) -> None:
    agenda = agenda_of(clock, "a", "b", "c")
    assert agenda.take() == []
    agenda.mark("b")
    assert agenda.take() == ["b"]
    assert agenda.take() == []
    agenda.mark(None)
    assert sorted(agenda.take()) == ["a", "b", "c"]


async def test_every_queue_is_asked_after_the_interval(clock: FakeClock) -> None:
    agenda = agenda_of(clock, "a", "b", interval=0.0)
    agenda.mark("b")
    assert agenda.take() == ["a", "b"]
    assert agenda_of(clock, "a").until_turn() == pytest.approx(LONG, abs=1.0)


async def test_a_queue_is_asked_at_the_planned_instant(clock: FakeClock) -> None:
    agenda = agenda_of(clock, "a", "b")
    agenda.plan("a", NOW + 2000)
    agenda.plan("b", NOW + 1000)
    assert agenda.next_due == NOW + 1000
    clock.advance(999)
    assert agenda.take() == []
    clock.advance(1)
    assert agenda.take() == ["b"]
    agenda.plan("a", None)
    assert agenda.next_due is None


async def test_a_queue_that_is_asked_has_no_plan_left(clock: FakeClock) -> None:
    agenda = agenda_of(clock, "a")
    agenda.plan("a", NOW + 1000)
    agenda.mark("a")
    assert agenda.take() == ["a"]
    assert agenda.next_due is None


async def test_very_many_queues_are_asked_in_turns(clock: FakeClock) -> None:
    queues = [f"q{number}" for number in range(2 * MAX_QUEUES_PER_STEP + 1)]
    agenda = QueueAgenda(queues, lambda: 30.0, BrokerTime(clock))
    assert agenda.take() == queues[:MAX_QUEUES_PER_STEP]
    assert agenda.until_turn() == pytest.approx(10.0, abs=1.0)
    often = QueueAgenda(queues, lambda: 1.0, BrokerTime(clock))
    often.take()
    assert often.until_turn() == pytest.approx(1.0, abs=0.5)
