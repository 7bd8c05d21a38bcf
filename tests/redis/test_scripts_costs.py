"""Scripts send no more commands than needed: a worker calls them for many queues that have nothing to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import (
    AdoptOrphans,
    AdvanceSequences,
    Dequeue,
    Enqueue,
    Forward,
    ListLostLeases,
    PurgeCompleted,
    ReclaimAggregations,
    TakeParents,
    TrimArchive,
)
from asynq.task_state import TaskState
from asynq_redis import RedisBroker

if TYPE_CHECKING:
    from asynq.protocol.ops import Op
    from tests.redis.script_lab import ScriptLab
    from tests.servers import RedisServer


def cost(server: RedisServer, broker: RedisBroker, op: Op[Any]) -> int:
    """Commands of the operation, once the server knows its script."""
    broker.execute(op)
    before = server.commands()
    broker.execute(op)
    return server.commands() - before - 1  # INFO


@pytest.mark.parametrize(
    ("op", "beside"),
    [
        (Forward(queue="q"), 0),
        (ListLostLeases(queue="q"), 0),
        (AdoptOrphans(queue="q", grace=1000), 1),  # it lists the queue again
        (PurgeCompleted(queue="q"), 0),
        (TrimArchive(queue="q"), 0),
        (AdvanceSequences(queue="q"), 0),
        (TakeParents(queue="q", hold=1000), 0),
        (ReclaimAggregations(queue="q"), 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_upkeep_of_a_queue_without_data_takes_a_call_and_a_look(
    own_server: RedisServer, op: Op[Any], beside: int
) -> None:
    broker = RedisBroker(own_server.url)
    assert cost(own_server, broker, op) == 2 + beside
    broker.close()


def test_a_dequeue_from_an_empty_queue_reads_its_lists_and_leases_only(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url)
    # The call, the time, two lengths, a number of leases, and what an earlier copy took.
    assert cost(own_server, broker, Dequeue(orders=(("q",),), token="t", lease=1000)) == 6
    broker.close()


def test_a_dequeue_looks_once_for_tasks_that_are_not_there(own_server: RedisServer) -> None:
    broker = RedisBroker(own_server.url)

    def looks(wanted: int) -> int:
        server = own_server.client
        before = server.info("commandstats")["cmdstat_lrange"]["calls"]
        broker.execute(Dequeue(orders=(("q",),) * wanted, token=str(wanted), lease=1000))
        return int(server.info("commandstats")["cmdstat_lrange"]["calls"] - before)

    for number in range(2):
        broker.execute(
            Enqueue(message=TaskMessage(id=str(number), type="t", queue="q"), enqueue_id=str(number))
        )
    broker.execute(Dequeue(orders=(("q",),), token="first", lease=1000))
    # One look at what an earlier copy of the call took, and one at the tasks.
    assert looks(10) == 2
    broker.close()


def test_an_enqueue_names_the_keys_of_options_only_with_options(lab: ScriptLab) -> None:
    plain, grouped = (
        Enqueue(message=TaskMessage(id=group or "plain", type="t", queue="q", group=group), enqueue_id="e")
        for group in ("", "g")
    )
    assert [answer.state for answer in lab.many(plain)] == [TaskState.PENDING]
    assert lab.calls[-1].keys == ["asynq:{q}:pending", "asynq:{q}:scheduled"]
    assert [answer.state for answer in lab.many(plain, grouped)] == [TaskState.PENDING, TaskState.AGGREGATING]
    assert len(lab.calls[-1].keys) == 2 + 3 + 1
