"""Keys with contents that asynq never writes: the broken key is named, everything else continues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import redis

from asynq.errors import BrokerRefusedError, LeaseLostError
from asynq.protocol.ops import (
    Archive,
    Complete,
    Dequeue,
    Done,
    Enqueue,
    ExtendLease,
    Forward,
    GetQueueStats,
    GetTask,
    ListLostLeases,
    ListTasks,
    PurgeCompleted,
    Recover,
    Requeue,
    Retry,
    TrimArchive,
    Unique,
)
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op
    from tests.servers import RedisServer


def refused(answer: object, key: str) -> bool:
    """Whether the answer is the server's refusal and names the key."""
    return isinstance(answer, redis.ResponseError) and str(answer).startswith(
        f"WRONGTYPE {key} holds a string"
    )


ON_ACTIVE: list[tuple[str, Callable[[Any], Op[Any]]]] = [
    *((key, lambda delivery: Done(delivery=delivery)) for key in ("active", "lease")),
    *((key, lambda delivery: Complete(delivery=delivery)) for key in ("active", "lease", "completed")),
    *(
        (key, lambda delivery: Retry(delivery=delivery, delay=1, error=""))
        for key in ("active", "lease", "retry")
    ),
    *(
        (key, lambda delivery: Archive(delivery=delivery, error=""))
        for key in ("active", "lease", "archived")
    ),
    *((key, lambda delivery: Requeue(delivery=delivery)) for key in ("active", "lease", "pending")),
    ("lease", lambda delivery: ExtendLease(lease=delivery.lease, duration=1)),
]


@pytest.mark.parametrize(("broken", "settle"), ON_ACTIVE)
def test_a_run_is_not_settled_partially_if_a_key_is_broken(
    lab: ScriptLab, broken: str, settle: Callable[[Any], Op[Any]]
) -> None:
    lab.enqueue(message("a"), message("b"))
    [delivery] = lab.take()
    key = f"asynq:{{q}}:{broken}"
    lab.client.set(key, "garbage")
    before = lab.content()
    assert refused(lab.one(settle(delivery)), key)
    assert lab.content() == before


ON_QUEUE: list[tuple[str, Op[Any]]] = [
    ("pending", Enqueue(message=message("n"), enqueue_id="n")),
    ("scheduled", Enqueue(message=message("n"), enqueue_id="n", process_in=5000)),
    ("groups", Enqueue(message=message("n", group="g"), enqueue_id="n")),
    ("pending", Dequeue(orders=(("q",),), token="t", lease=1)),
    *((key, Forward(queue="q")) for key in ("scheduled", "retry", "pending", "groups")),
    *((key, ListLostLeases(queue="q")) for key in ("active", "lease")),
    ("completed", PurgeCompleted(queue="q")),
    ("archived", TrimArchive(queue="q")),
    *((key, GetQueueStats(queue="q")) for key in ("pending", "archived", "groups")),
    ("retry", ListTasks(queue="q", state=TaskState.RETRY)),
]


@pytest.mark.parametrize(("broken", "operation"), ON_QUEUE)
def test_an_operation_names_the_broken_key_of_its_queue(
    lab: ScriptLab, broken: str, operation: Op[Any]
) -> None:
    key = f"asynq:{{q}}:{broken}"
    lab.client.set(key, "garbage")
    answer = lab.one(operation)
    if isinstance(answer, BrokerRefusedError):
        assert str(answer.reason).startswith(f"WRONGTYPE {key} holds a string")
    else:
        assert refused(answer, key)


def test_a_broken_queue_does_not_block_others(lab: ScriptLab) -> None:
    lab.enqueue(message("a", "sound"))
    lab.client.set("asynq:{broken}:pending", "garbage")
    [delivery] = lab.one(Dequeue(orders=(("broken", "sound"),) * 3, token="t", lease=1000))
    assert delivery.message.id == "a"


@pytest.mark.parametrize("broken", ["t:a", "unique:email:"])
def test_only_the_broken_task_or_lock_of_a_batch_is_refused(lab: ScriptLab, broken: str) -> None:
    key = f"asynq:{{q}}:{broken}"
    lab.client.rpush(key, "garbage")
    first, second = lab.many(
        Enqueue(message=unique("a"), enqueue_id="1", unique=Unique(ttl=60_000)),
        Enqueue(message=message("b"), enqueue_id="2"),
    )
    assert isinstance(first, redis.ResponseError)
    assert key in str(first)
    assert second.state is TaskState.PENDING


def test_a_broken_group_is_refused_and_named(lab: ScriptLab) -> None:
    lab.client.set("asynq:{q}:g:g", "garbage")
    [answer] = lab.enqueue(message("a", group="g"))
    assert isinstance(answer, redis.ResponseError)
    assert not lab.client.exists("asynq:{q}:t:a")


def test_a_multi_line_name_is_reported_on_one_line(lab: ScriptLab) -> None:
    lab.client.set("asynq:{q}:g:a\nb?", "garbage")
    [answer] = lab.enqueue(message("a", group="a\nb?"))
    assert "WRONGTYPE asynq:{q}:g:a?b? holds a string where a zset belongs" in str(answer)


@pytest.mark.parametrize(
    "settle", [lambda taken: Done(delivery=taken), lambda taken: Retry(delivery=taken, delay=1, error="no")]
)
def test_a_key_without_read_permission_does_not_count_as_missing(
    own_server: RedisServer, settle: Callable[[Delivery], Op[None]]
) -> None:
    lab = ScriptLab(own_server.client)
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    own_server.client.acl_setuser("blind", enabled=True, nopass=True, keys="*", commands=["+@all", "-hmget"])
    blind = ScriptLab(redis.Redis.from_url(own_server.url, username="blind", password=""), lab.clock)
    with pytest.raises(redis.ResponseError, match=r"can't run this command|ACL failure"):
        blind.one(settle(delivery))
    assert lab.one(settle(delivery)) is None
    lab.enqueue(message("b"))
    with pytest.raises(redis.ResponseError, match=r"can't run this command|ACL failure"):
        blind.take()
    assert [delivery.message.id for delivery in lab.take()] == ["b"]


def test_a_broken_lock_does_not_prevent_the_settlement_of_its_task(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"), unique=Unique(ttl=60_000))
    [delivery] = lab.take()
    lab.client.delete(delivery.message.unique_key)
    lab.client.rpush(delivery.message.unique_key, "garbage")
    assert lab.one(Done(delivery=delivery)) is None


@pytest.mark.parametrize("garbage", ["many", "1.5", "", "9223372036854775807"])
def test_a_broken_counter_blocks_no_operation(lab: ScriptLab, garbage: str) -> None:
    names = ("processed", "failed", "processed:2023-11-14", "failed:2023-11-14")
    lab.client.mset({f"asynq:{{q}}:{name}": garbage for name in names})
    lab.enqueue(message("a"))
    assert lab.one(Archive(delivery=lab.take()[0], error="no")) is None
    assert lab.one(GetQueueStats(queue="q")).archived == 1


@pytest.mark.parametrize("count", [1, 50, 150, 260])
def test_ids_without_a_task_do_not_block_their_queue(lab: ScriptLab, count: int) -> None:
    lab.client.rpush("asynq:{q}:pending", *(f"gone-{number}" for number in range(count)))
    lab.enqueue(message("a"))
    lab.client.lrem("asynq:{q}:pending", 0, "a")
    lab.client.lpush("asynq:{q}:pending", "a")
    assert [delivery.message.id for delivery in lab.take()] == ["a"]
    assert lab.client.llen("asynq:{q}:pending") == 0


def test_an_id_listed_twice_is_delivered_once(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    lab.client.lpush("asynq:{q}:pending", "a", "a")
    assert len(lab.take(2, token="first")) == 1
    lab.client.lpush("asynq:{q}:pending", "a")
    assert lab.take(2, token="second") == []
    assert lab.client.lrange("asynq:{q}:active", 0, -1) == [b"a"]


def test_a_hash_that_is_not_a_task_is_removed_with_its_id(lab: ScriptLab) -> None:
    for task_id, source in (("p", "pending"), ("s", "scheduled"), ("l", "lease")):
        lab.client.hset(f"asynq:{{q}}:t:{task_id}", "result", "left by Go")
        if source == "pending":
            lab.client.lpush("asynq:{q}:pending", task_id)
        else:
            lab.client.zadd(f"asynq:{{q}}:{source}", {task_id: 1})
    lab.take()
    lab.many(Forward(queue="q"), ListLostLeases(queue="q"))
    assert lab.client.keys() == []


def test_an_undecodable_task_keeps_its_bytes_in_the_archive(
    lab: ScriptLab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.enqueue(message("a"))
    lab.client.hset("asynq:{q}:t:a", "msg", b"\xff\x00garbage")
    assert lab.take() == []
    stored = lab.one(GetTask(queue="q", task_id="a"))
    assert stored.state is TaskState.ARCHIVED
    assert (stored.message.type, stored.message.payload) == ("asynq:undecodable", b"\xff\x00garbage")
    assert stored.message.error.startswith("set aside: ")
    assert caplog.messages[0].startswith("task 'a' of queue 'q' cannot be decoded, now archived: ")
    assert not lab.client.exists("asynq:{q}:active", "asynq:{q}:lease")
    assert not lab.client.hexists("asynq:{q}:t:a", "lease_token")


def test_a_message_of_another_task_is_archived(lab: ScriptLab) -> None:
    lab.enqueue(message("a"), message("b"))
    lab.client.hset("asynq:{q}:t:a", "msg", lab.client.hget("asynq:{q}:t:b", "msg"))
    assert [delivery.message.id for delivery in lab.take(2)] == ["b"]
    assert "message of task 'b'" in lab.one(GetTask(queue="q", task_id="a")).message.error


def test_an_id_that_is_not_text_is_archived(lab: ScriptLab) -> None:
    lab.client.hset(b"asynq:{q}:t:\xff", mapping={"msg": b"x", "state": "pending"})
    lab.client.lpush("asynq:{q}:pending", b"\xff")
    assert lab.take() == []
    assert lab.client.zrange("asynq:{q}:archived", 0, -1) == [b"\xff"]


def test_the_worker_of_an_archived_damaged_task_has_lost_it(lab: ScriptLab) -> None:
    lab.enqueue(message("a"))
    [delivery] = lab.take()
    lab.client.hset("asynq:{q}:t:a", "msg", b"\xff")
    lab.clock.advance(60_000)
    assert lab.one(ListLostLeases(queue="q")).set_aside == ("a",)
    assert isinstance(lab.one(Done(delivery=delivery)), LeaseLostError)


def test_a_large_archive_is_trimmed_in_bounded_steps(lab: ScriptLab) -> None:
    pipe = lab.client.pipeline()
    for number in range(12_000):
        pipe.zadd("asynq:{q}:archived", {f"old-{number}": 1})
        pipe.hset(f"asynq:{{q}}:t:old-{number}", "msg", "x")
    pipe.execute()
    lab.enqueue(message("a"))
    assert lab.one(Archive(delivery=lab.take()[0], error="no")) is None
    left = lab.client.zcard("asynq:{q}:archived")
    assert left == 12_000 + 1 - 51
    assert lab.one(TrimArchive(queue="q", limit=1000)) == 1000
    assert lab.client.zcard("asynq:{q}:archived") == left - 1000
    assert len(lab.client.keys("asynq:{q}:t:old-*")) == left - 1001


@pytest.mark.parametrize("to", ["pending", "retry", "archived"])
def test_a_recovery_is_not_partial_if_a_key_is_broken(lab: ScriptLab, to: Any) -> None:
    lab.enqueue(message("a"))
    lab.take(1, lease=1000)
    lab.clock.advance(5000)
    [lost] = lab.one(ListLostLeases(queue="q")).leases
    lab.client.set(f"asynq:{{q}}:{to}", "garbage")
    before = lab.content()
    assert refused(lab.one(Recover(lost=lost, to=to, error="lost")), f"asynq:{{q}}:{to}")
    assert lab.content() == before
