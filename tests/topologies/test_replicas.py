"""min_replicas: calls return after replication; else the outcome is unknown, and a repetition is safe."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import NotReplicatedError, TaskIDConflictError
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import (
    ArchiveTask,
    DeleteQueue,
    DeleteSchedule,
    DeleteTask,
    Dequeue,
    Done,
    Enqueue,
    GetQueueStats,
    GetTask,
    MoveTasks,
    PauseQueue,
    PauseSchedule,
    RunTask,
    UnpauseQueue,
    UpdateTask,
    WriteSchedule,
)
from asynq.protocol.schedules import StoredSchedule
from asynq.task_state import TaskState
from asynq_redis import RedisBroker, RedisClusterBroker, RedisSentinelBroker
from asynq_topologies.layout import MASTER
from tests.servers import RedisServer, find_redis_servers
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.broker import Capabilities
    from asynq.protocol.ops import Op
    from asynq_topologies import Topology
    from asynq_topologies.node import Node

SOON = timedelta(milliseconds=500)
KEY = "asynq:{q}:pending"


def enqueue(task_id: str = "a", call: str = "1") -> Enqueue:
    return Enqueue(message=TaskMessage(id=task_id, type="t", queue="q"), enqueue_id=f"{task_id} {call}")


def take(broker: Any, token: str = "t") -> Any:
    [delivery] = broker.execute(Dequeue(orders=(("q",),), token=token, lease=30_000))
    return delivery


def safe(topology: Topology, min_replicas: int) -> Any:
    options: dict[str, Any] = {"min_replicas": min_replicas, "replication_timeout": SOON}
    if topology.kind == "cluster":
        return RedisClusterBroker([topology.nodes[0].address], **options)
    return RedisSentinelBroker([one.address for one in topology.sentinels], master=MASTER, **options)


@pytest.fixture(params=["sentinel", "cluster"])
def topology(request: pytest.FixtureRequest) -> Topology:
    topology: Topology = request.getfixturevalue(request.param)
    topology.wait_whole()
    return topology


@pytest.fixture
def replicas(topology: Topology) -> list[Node]:
    return topology.replicas_of(topology.primary_of(KEY))


@pytest.fixture
def broker(topology: Topology, replicas: list[Node]) -> Iterator[Any]:
    """A broker that requires all replicas."""
    broker = safe(topology, len(replicas))
    yield broker
    broker.close()


@contextmanager
def held_up(replica: Node) -> Iterator[None]:
    replica.pause()
    try:
        yield
    finally:
        replica.resume()


@contextmanager
def held_up_everywhere(topology: Topology) -> Iterator[None]:
    """One replica of each primary: the schedules are not beside the queue."""
    with ExitStack() as stack:
        for primary in topology.primaries():
            stack.enter_context(held_up(topology.replicas_of(primary)[0]))
        yield


def test_an_enqueue_is_acknowledged_after_replication(broker: Any, replicas: list[Node]) -> None:
    broker.execute(enqueue())
    for replica in replicas:
        assert replica.info("keyspace")["db0"]["keys"] >= len(["the task", "pending"])
    assert broker.capabilities.durability == "replicated"


def test_too_few_replicas_are_an_unknown_outcome(broker: Any, replicas: list[Node]) -> None:
    broker.execute(enqueue("before"))
    with held_up(replicas[0]), pytest.raises(NotReplicatedError) as failed:
        broker.execute(enqueue())
    assert (failed.value.wanted, failed.value.confirmed) == (len(replicas), len(replicas) - 1)
    assert broker.execute(GetTask(queue="q", task_id="a")).state.value == "pending"
    assert broker.execute(GetQueueStats(queue="q")).pending == len(["before", "a"])


@pytest.mark.parametrize("executable", find_redis_servers(), ids=lambda path: path.split("/")[-3])
def test_a_repeated_enqueue_waits_for_replicas_again(executable: str) -> None:
    with RedisServer.start("--repl-diskless-sync-delay", "0", executable=executable) as primary:
        copying = ("--replicaof", "127.0.0.1", str(primary.port))
        with RedisServer.start(*copying, executable=executable) as replica:
            eventually(
                lambda: dict(primary.client.info("replication")).get("slave0", {}).get("state") == "online"
            )
            patient = RedisBroker(primary.url, min_replicas=1, replication_timeout=timedelta(seconds=2))
            patient.execute(enqueue("before"))
            broker = RedisBroker(primary.url, min_replicas=1, replication_timeout=SOON)
            replica.pause()
            for _ in range(2):
                # over a separate connection that has not written anything yet
                broker.close()
                with pytest.raises(NotReplicatedError):
                    broker.execute(enqueue())
            replica.resume()
            assert patient.execute(enqueue()).state.value == "pending"
            patient.close()
            broker.close()


def test_a_settlement_waits_for_replicas_too(broker: Any, replicas: list[Node]) -> None:
    broker.execute(enqueue())
    delivery = take(broker)
    with held_up(replicas[0]), pytest.raises(NotReplicatedError):
        broker.execute(Done(delivery=delivery))


SCHEDULE = StoredSchedule(
    name="nightly", spec="@daily", location="UTC", message=TaskMessage(id="", type="t", queue="q")
)
ACKNOWLEDGED = [
    PauseQueue(queue="q"),
    UnpauseQueue(queue="q"),
    UpdateTask(queue="q", task_id="a", payload=b"x"),
    ArchiveTask(queue="q", task_id="a"),
    RunTask(queue="q", task_id="a"),
    MoveTasks(queue="q", state=TaskState.PENDING, to="archived"),
    DeleteTask(queue="q", task_id="a"),
    DeleteQueue(queue="q", force=True, limit=10),
    WriteSchedule(schedule=SCHEDULE),
    PauseSchedule(name="nightly", paused=True),
    DeleteSchedule(name="nightly"),
]
"""Whatever a user is told has been done."""


@pytest.mark.parametrize("op", ACKNOWLEDGED, ids=lambda op: type(op).__name__)
def test_what_an_operator_does_waits_for_replicas(topology: Topology, broker: Any, op: Op[Any]) -> None:
    broker.execute_many([enqueue(), WriteSchedule(schedule=SCHEDULE)])
    if isinstance(op, RunTask):
        broker.execute(ArchiveTask(queue="q", task_id="a"))
    with held_up_everywhere(topology), pytest.raises(NotReplicatedError):
        broker.execute(op)


def test_a_dequeue_does_not_wait_for_replicas(broker: Any, replicas: list[Node]) -> None:
    broker.execute(enqueue())
    with held_up(replicas[0]):
        assert take(broker).message.id == "a"


def test_refusals_are_returned_after_replication(broker: Any, replicas: list[Node]) -> None:
    broker.execute(enqueue())
    with held_up(replicas[0]):
        answers = broker.execute_many([enqueue("a", call="2"), enqueue("b")])
    assert all(isinstance(answer, NotReplicatedError) for answer in answers)
    [conflict] = broker.execute_many([enqueue("a", call="3")])
    assert isinstance(conflict, TaskIDConflictError)


def test_calls_do_not_wait_for_replicas_by_default(topology: Topology, replicas: list[Node]) -> None:
    broker = safe(topology, 0)
    with held_up(replicas[0]):
        assert broker.execute(enqueue()).state.value == "pending"
    capabilities: Capabilities = broker.capabilities
    assert capabilities.durability == "process"
    broker.close()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("min_replicas", -1),
        ("replication_timeout", timedelta(0)),
        ("replication_timeout", timedelta(seconds=3)),
    ],
)
def test_an_invalid_option_is_refused_by_its_name(option: str, value: Any) -> None:
    options: dict[str, Any] = {"min_replicas": 1, option: value}
    with pytest.raises(ValueError, match=option):
        RedisBroker(**options)
