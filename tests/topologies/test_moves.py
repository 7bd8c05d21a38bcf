"""Slots that move between primaries: a queue waits while its slot moves, and no operation is partial."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import Wake
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Dequeue, Done, Enqueue, GetQueueStats, ListQueues, PauseQueue, Ping
from asynq_redis import RedisBroker, RedisClusterBroker
from asynq_topologies.slots import Move
from tests.redis.custom_operations import enqueue
from tests.topologies.conftest import queues_of
from tests.topologies.load import Load
from tests.waiting import PATIENCE, aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq_topologies import Topology
    from asynq_topologies.node import Node

SHORT = timedelta(seconds=0.3)
HEALED_WITHIN = 10.0


def pending(queue: str) -> str:
    return f"asynq:{{{queue}}}:pending"


def elsewhere(cluster: Topology, queue: str) -> Any:
    home = cluster.primary_of(pending(queue))
    return next(primary for primary in cluster.primaries() if primary is not home)


@pytest.fixture
def broker(cluster: Topology) -> Iterator[RedisClusterBroker]:
    broker = RedisClusterBroker([cluster.nodes[0].address], budget=SHORT)
    yield broker
    broker.close()


@contextmanager
def shortly_after(action: Callable[[], object]) -> Iterator[None]:
    """The block starts an operation; the action happens while it is under way."""
    timer = threading.Timer(3 * SHORT.total_seconds(), action)
    timer.start()
    yield
    timer.join()


def test_a_queue_waits_while_its_slot_moves(cluster: Topology, broker: Any, face: Any) -> None:
    face.ask(broker, *(enqueue(f"{number}", "moving") for number in range(5)), PauseQueue(queue="moving"))
    move = Move(cluster, pending("moving"), elsewhere(cluster, "moving"))
    move.begin()
    move.move_keys(3)

    def finish() -> None:
        move.move_keys()
        move.end()

    # longer than the budget, which is for failing servers: a move is not a failure
    with shortly_after(finish):
        answers = face.ask(broker, enqueue("late", "moving"))
    assert answers[0].state.value == "pending"
    assert move.source.ask("CLUSTER", "COUNTKEYSINSLOT", move.slot) == 0
    assert broker.execute(GetQueueStats(queue="moving")).pending == 6
    # A pause that had moved already was not passed over.
    assert broker.execute(Dequeue(orders=(("moving",),), token="t", lease=9000)) == ()


def test_the_target_of_a_moving_slot_receives_no_script_before_it_owns_the_slot(
    cluster: Topology, broker: Any, face: Any
) -> None:
    face.ask(broker, enqueue("a", "asked"))
    move = Move(cluster, pending("asked"), elsewhere(cluster, "asked"))
    move.begin()
    move.move_keys()
    # The source has no key left: it answers ASK, and on the target the id is taken.
    with pytest.raises(redis.exceptions.AskError):
        move.source.ask("LLEN", pending("asked"))
    seen = [scripts_seen(move.target)]

    def end() -> None:
        seen.append(scripts_seen(move.target))
        move.end()

    with shortly_after(end):
        [conflict] = face.ask(
            broker, Enqueue(message=TaskMessage(id="a", type="t", queue="asked"), enqueue_id="another")
        )
    assert seen[0] == seen[1]
    assert type(conflict).__name__ == "TaskIDConflictError"
    assert move.target.ask("LLEN", pending("asked")) == 1


def scripts_seen(node: Node) -> int:
    """Number of script calls that a server received, including refused ones."""
    stats = node.info("commandstats")
    calls = [stats.get(f"cmdstat_{name}", {}) for name in ("eval", "evalsha")]
    return sum(call.get("calls", 0) + call.get("rejected_calls", 0) for call in calls)


def test_clients_follow_a_moved_slot(cluster: Topology, broker: Any, face: Any) -> None:
    face.ask(broker, enqueue("a", "moved"))
    move = Move(cluster, pending("moved"), elsewhere(cluster, "moved"))
    move.begin()
    move.move_keys()
    move.end()
    face.ask(broker, enqueue("b", "moved"))
    assert move.target.ask("LLEN", pending("moved")) == 2


def test_other_queues_keep_working_while_a_slot_moves(cluster: Topology, broker: Any) -> None:
    still, moving, *_ = queues_of(cluster)
    broker.execute_many([enqueue("a", still), enqueue("b", moving), enqueue("c", moving)])
    move = Move(cluster, pending(moving), elsewhere(cluster, moving))
    move.begin()
    move.move_keys(1)
    began = time.monotonic()
    [delivery] = broker.execute(Dequeue(orders=((moving, still),) * 2, token="t", lease=9000))
    assert (delivery.message.id, time.monotonic() - began < 2) == ("a", True)
    broker.execute(Done(delivery=delivery))
    move.move_keys()
    move.end()
    assert len(broker.execute(Dequeue(orders=((moving, still),) * 2, token="u", lease=9000))) == 2


def test_a_single_server_broker_on_a_cluster_node_names_the_right_topology(cluster: Topology) -> None:
    host, port = elsewhere(cluster, "q").address
    broker = RedisBroker(f"redis://{host}:{port}")
    [refused] = broker.execute_many([PauseQueue(queue="q")])
    assert "RedisClusterBroker" in str(refused)
    broker.close()


def is_tracked(node: Node) -> bool:
    """Whether a listener receives changes from this server."""
    return any({"t", "B"} <= set(client["flags"]) for client in node.client.client_list())


async def test_a_listener_follows_a_slot(cluster: Topology) -> None:
    broker = RedisClusterBroker([cluster.nodes[0].address])
    await broker.aexecute(enqueue("a", "heard"))
    listener = broker.listener()
    await listener.arm(["heard"])
    move = Move(cluster, pending("heard"), elsewhere(cluster, "heard"))
    move.begin()
    move.move_keys()
    move.end()
    # The next request learns of the move, and so does the listener.
    await broker.aexecute(enqueue("b", "heard"))
    await aeventually(lambda: is_tracked(move.target))
    async with asyncio.timeout(PATIENCE):
        while listener._events:  # type: ignore[attr-defined]
            await listener.next()
        cluster.primary_of(pending("heard")).ask("LPUSH", pending("heard"), "c")
        while (event := await listener.next()) != Wake("heard", "pending"):
            assert event == Wake()
    await listener.aclose()
    await broker.aclose()


@pytest.mark.timeout(240)
def test_nothing_is_lost_when_slots_move_under_load(
    own_cluster: Topology, tmp_path: Path, report: Callable[..., None]
) -> None:
    queues = queues_of(own_cluster)
    with Load(own_cluster.url, queues, tmp_path) as load:
        began = time.time()
        for _ in range(5):
            for key in (pending(queues[0]), "asynq:queues"):
                target = next(
                    one for one in own_cluster.primaries() if one is not own_cluster.primary_of(key)
                )
                move = Move(own_cluster, key, target)
                move.begin()
                move.move_keys(20)
                ended = len(load.ended())
                eventually(lambda: len(load.ended()) > ended)  # noqa: B023 - called at once
                move.move_keys()
                move.end()
        healed = load.wait_flowing(time.time())
        seconds = time.time() - began
        counts = load.drain()
    report(
        moves=10,
        acknowledged=counts.acknowledged,
        lost=len(counts.lost),
        run_again=counts.repeated,
        healed_after=round(healed, 2),
        moving_for=round(seconds, 1),
        longest_gap={queue: round(load.longest_gap(queue), 2) for queue in queues},
    )
    assert counts.lost == []
    assert healed < HEALED_WITHIN
    assert counts.repeated == 0


def test_an_unreachable_cluster_is_unavailable(face: Any) -> None:
    broker = RedisClusterBroker([("127.0.0.1", 1)], budget=SHORT)
    with pytest.raises(BrokerUnavailable):
        face.ask(broker, Ping(), ListQueues())
