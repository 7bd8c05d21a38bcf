"""Dequeue from queues on different shards: by priority, each task once, never more than requested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.connect import connect
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Dequeue, Enqueue, GetQueueStats
from tests.topologies.conftest import queues_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_topologies import Topology


@pytest.fixture
def broker(cluster: Topology) -> Iterator[Any]:
    broker = connect(cluster.url)
    yield broker
    broker.close()


def enqueue(broker: Any, queue: str, *ids: str) -> None:
    for task_id in ids:
        message = TaskMessage(id=task_id, type="t", queue=queue)
        broker.execute(Enqueue(message=message, enqueue_id=f"call for {task_id}"))


def taken(broker: Any, *orders: tuple[str, ...], token: str = "t") -> list[str]:
    return sorted(d.message.id for d in broker.execute(Dequeue(orders=orders, token=token, lease=30_000)))


def test_missing_tasks_are_taken_from_the_next_queue(cluster: Topology, broker: Any) -> None:
    first, second, third = queues_of(cluster)
    enqueue(broker, first, "a")
    enqueue(broker, second, "b", "c")
    enqueue(broker, third, "d", "e", "f")
    assert taken(broker, *[(first, second, third)] * 4) == ["a", "b", "c", "d"]


def test_each_requested_task_follows_its_own_order(cluster: Topology, broker: Any) -> None:
    first, second, third = queues_of(cluster)
    enqueue(broker, first, "a1", "a2")
    enqueue(broker, second, "b1", "b2")
    enqueue(broker, third, "c1", "c2")
    orders = (second, first), (third,), (second, first)
    assert taken(broker, *orders) == ["b1", "b2", "c1"]


def test_a_repeated_dequeue_takes_no_task_from_a_preferred_queue(cluster: Topology, broker: Any) -> None:
    first, second, _ = queues_of(cluster)
    enqueue(broker, second, "b")
    assert taken(broker, (first, second), token="mine") == ["b"]
    enqueue(broker, first, "a")
    assert len(taken(broker, (first, second), token="mine")) == 1
    stats = [broker.execute(GetQueueStats(queue=queue)) for queue in (first, second)]
    assert (sum(one.active for one in stats), sum(one.pending for one in stats)) == (1, 1)
    assert sum(one.processed_total + one.retry for one in stats) == 0
