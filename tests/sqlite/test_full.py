"""A full file: enqueues are refused, what is in it can be worked off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq import ops
from asynq.errors import BrokerFullError
from asynq.message import QueueStats, TaskState
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue, take, tasks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAYLOAD = bytes(3000)


@pytest.fixture
def full(path: Path) -> Iterator[SQLiteBroker]:
    """A broker whose file is full."""
    broker = SQLiteBroker(path, max_size=200_000)
    answers = broker.execute_many([enqueue(f"t{number}", payload=PAYLOAD) for number in range(70)])
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, BrokerFullError)]
    assert refused == list(range(refused[0], 70))
    yield broker
    broker.close()


def test_a_refused_enqueue_leaves_nothing(full: SQLiteBroker) -> None:
    before = tasks(full, TaskState.PENDING)
    with pytest.raises(BrokerFullError):
        full.execute(enqueue("one more", payload=PAYLOAD))
    assert tasks(full, TaskState.PENDING) == before


def test_a_full_file_can_be_worked_off_in_every_way(full: SQLiteBroker) -> None:
    size = len(tasks(full, TaskState.PENDING))
    deliveries = take(full, wanted=50)
    ends = (
        lambda d: ops.Archive(delivery=d, error="e" * 200),
        lambda d: ops.Retry(delivery=d, delay=1000, error="e" * 200),
        lambda d: ops.Complete(delivery=d, result=b"r" * 200),
        lambda d: ops.Requeue(delivery=d),
        lambda d: ops.Done(delivery=d),
    )
    answers = full.execute_many([ends[n % 5](delivery) for n, delivery in enumerate(deliveries)])
    assert answers == [None] * len(deliveries)
    stats = full.execute(ops.GetQueueStats(queue="q"))
    assert stats.size == size - sum(n % 5 == 4 for n in range(len(deliveries)))


def test_room_that_is_made_is_used_again(full: SQLiteBroker) -> None:
    for number in range(3):
        delivery = take(full, f"token{number}")[0]
        full.execute(ops.Done(delivery=delivery))
        full.execute(enqueue(f"new{number}", payload=PAYLOAD[:2000]))


def test_in_a_batch_only_what_needs_room_is_refused(full: SQLiteBroker) -> None:
    delivery = take(full)[0]
    huge = enqueue("huge", payload=bytes(300_000))
    answers = full.execute_many([huge, ops.Done(delivery=delivery), ops.GetQueueStats(queue="q")])
    assert isinstance(answers[0], BrokerFullError)
    assert answers[1] is None
    assert isinstance(answers[2], QueueStats)
