"""Leftovers of crashes, evictions and Go peers are found, kept without `repair`, and repaired with it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Fault, Finding, Inspector, Task, TaskState
from asynq.clock import SystemClock
from asynq.errors import AsynqError, TaskNotFoundError
from asynq.instants import MAX_DATETIME
from asynq.protocol.ops import CancelTask, Complete, Dequeue, Forward, ListLostLeases

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.message import Delivery
    from tests.servers import RedisServer

Q = "asynq:{default}:"


@pytest.fixture
def inspector(redis_server: RedisServer) -> Iterator[Inspector]:
    with Inspector(redis_server.url) as inspector:
        yield inspector


@pytest.fixture
def client(redis_server: RedisServer) -> Iterator[Client]:
    with Client(redis_server.url) as client:
        yield client


def take(inspector: Inspector) -> Delivery:
    """Take the next task."""
    dequeue = Dequeue(orders=(("default",),), token="t", lease=30_000)
    (delivery,) = inspector._broker.execute(dequeue)
    return delivery


def repaired(inspector: Inspector, fault: Fault, *names: str, queue: str = "default") -> None:
    """Check that these faults are found, stay without a repair, and are gone after one."""
    expected = {Finding(fault=fault, queue=queue, name=name) for name in names}
    assert set(inspector.doctor()) == expected
    assert set(inspector.doctor(repair=True)) == expected
    assert list(inspector.doctor()) == []


@pytest.mark.parametrize(
    ("state", "key", "becomes"),
    [
        (TaskState.PENDING, "pending", TaskState.PENDING),
        (TaskState.SCHEDULED, "scheduled", TaskState.ARCHIVED),
        (TaskState.ARCHIVED, "archived", None),
        (TaskState.COMPLETED, "completed", TaskState.COMPLETED),
        (TaskState.AGGREGATING, "g:g", TaskState.AGGREGATING),
    ],
)
def test_unlisted_tasks_are_listed_again(
    redis_server: RedisServer, client: Client, state: TaskState, key: str, becomes: TaskState | None
) -> None:
    inspector = Inspector(redis_server.url)
    options = {
        TaskState.SCHEDULED: {"process_in": timedelta(hours=1)},
        TaskState.AGGREGATING: {"group": "g"},
        TaskState.COMPLETED: {"retention": timedelta(hours=1)},
    }.get(state, {})
    client.enqueue(Task("t"), task_id="t", **options)  # type: ignore[arg-type]
    if state is TaskState.ARCHIVED:
        inspector.archive_task("default", "t")
    elif state is TaskState.COMPLETED:
        inspector._broker.execute(Complete(delivery=take(inspector)))
    assert redis_server.client.delete(Q + key) == 1

    repaired(inspector, Fault.ORPHANED_TASK, "t")
    if becomes is None:
        with pytest.raises(TaskNotFoundError):
            inspector.task("default", "t")
    else:
        group = "g" if becomes is TaskState.AGGREGATING else None
        assert [task.id for task in inspector.tasks("default", becomes, group)] == ["t"]


def test_an_unlisted_active_task_is_recovered(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    client.enqueue(Task("t"), task_id="t")
    take(inspector)
    redis_server.client.delete(f"{Q}active", f"{Q}lease")
    repaired(inspector, Fault.ORPHANED_TASK, "t")
    assert redis_server.client.lrange(f"{Q}active", 0, -1) == [b"t"]
    redis_server.client.zadd(f"{Q}lease", {"t": 1.5})
    lost = inspector._broker.execute(ListLostLeases(queue="default"))
    assert [lease.message.id for lease in lost.leases] == ["t"]


def test_fields_left_by_a_late_writer_are_removed(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    client.enqueue(Task("t"), task_id="sound")
    redis_server.client.hset(f"{Q}t:late", "result", "half")
    repaired(inspector, Fault.REMNANT, "late")
    assert client.enqueue(Task("t"), task_id="late").id == "late"


def test_tasks_trimmed_by_go_release_their_ids_and_locks(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    names = [f"{number:03d}" for number in range(120)]
    for name in names:
        client.enqueue(Task("t", {"n": name}), task_id=name, unique=timedelta(hours=1))
    inspector.archive_all("default", "pending")
    redis_server.client.zremrangebyrank(f"{Q}archived", 0, 99)  # as Go's inspector trims
    repaired(inspector, Fault.ORPHANED_TASK, *names[:100])
    client.enqueue(Task("t", {"n": "000"}), task_id="000", unique=timedelta(hours=1))


def test_a_lock_left_by_go_is_removed_unless_it_is_owned(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    client.enqueue(Task("t"), task_id="owner", unique=timedelta(hours=1))
    client.enqueue(Task("u"), task_id="gone", unique=timedelta(hours=1), unique_until="expiry")
    inspector.delete_task("default", "gone")
    redis_server.client.set(f"{Q}unique:t:feed", "nobody", ex=3600)
    repaired(inspector, Fault.STRAY_LOCK, f"{Q}unique:t:feed")
    assert len(redis_server.client.keys(f"{Q}unique:*".replace("{", "[{]"))) == 2


def enqueue_sequence(client: Client) -> None:
    for task_id in ("a", "b", "c"):
        client.enqueue(Task("t"), task_id=task_id, sequence="s")


def runs_in_order(inspector: Inspector) -> None:
    """Check that the tasks have their turns one after the other."""
    for task_id in ("a", "b", "c"):
        assert [task.id for task in inspector.tasks("default", "pending")] == [task_id]
        inspector.delete_task("default", task_id)


def test_tasks_without_a_place_in_their_sequence_get_one(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    enqueue_sequence(client)
    redis_server.client.delete(f"{Q}py:seq:s")
    repaired(inspector, Fault.MISSING_PLACE, "a", "b", "c")
    runs_in_order(inspector)


def test_the_next_task_of_a_sequence_without_places_and_without_a_head_runs(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    enqueue_sequence(client)
    redis_server.client.delete(f"{Q}t:a", f"{Q}pending", f"{Q}py:seq:s")
    repaired(inspector, Fault.MISSING_PLACE, "b", "c")
    assert [task.id for task in inspector.tasks("default", "pending")] == ["b"]
    assert inspector.task("default", "c").waiting


def test_a_sequence_that_is_not_listed_is_listed_and_keeps_its_order(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    enqueue_sequence(client)
    redis_server.client.delete(f"{Q}py:sequences")
    assert {finding.fault for finding in inspector.doctor(repair=True)} == {Fault.MISSING_PLACE}
    assert list(inspector.doctor()) == []
    runs_in_order(inspector)


def test_an_unlisted_group_is_listed(redis_server: RedisServer, client: Client, inspector: Inspector) -> None:
    client.enqueue(Task("t"), group="g")
    redis_server.client.delete(f"{Q}groups")
    repaired(inspector, Fault.UNLISTED_GROUP, "g")
    assert [group.name for group in inspector.groups("default")] == ["g"]


def test_an_unlisted_queue_is_listed(redis_server: RedisServer, client: Client, inspector: Inspector) -> None:
    client.enqueue(Task("t"))
    redis_server.client.delete("asynq:queues")
    repaired(inspector, Fault.UNLISTED_QUEUE, "")
    assert inspector.queues() == ("default",)


def test_records_of_expired_servers_are_removed(redis_server: RedisServer, inspector: Inspector) -> None:
    now = SystemClock().now() // 1000
    dead = [f"asynq:servers:{{h:{pid}:s}}" for pid in range(70)]
    redis_server.client.zadd("asynq:servers", dict.fromkeys(dead, now - 100))
    redis_server.client.zadd("asynq:servers", {"asynq:servers:{h:live:s}": now + 10})
    found = {finding.name for finding in inspector.doctor(repair=True)}
    assert found == set(dead)
    assert redis_server.client.zcard("asynq:servers") == 1


def test_a_go_run_is_cancelled_by_message_and_recorded_only_if_it_does_not_end(
    redis_server: RedisServer, client: Client, inspector: Inspector
) -> None:
    listener = redis_server.client.pubsub()  # type: ignore[no-untyped-call]
    listener.subscribe("asynq:cancel", "asynq:py:cancel")
    for then, recorded in (("retry", None), ("archive", b"archive")):
        client.enqueue(Task("t"), task_id=then)
        take(inspector)
        redis_server.client.zadd(f"{Q}lease", {then: 4_000_000_000})  # as Go writes it
        assert inspector._broker.execute(CancelTask(task_id=then, then=then))  # type: ignore[arg-type]
        assert redis_server.client.hget(f"{Q}t:{then}", "cancel") == recorded
    heard = [listener.get_message(timeout=5) for _ in range(4)]
    assert [(one["channel"], one["data"]) for one in heard if one["type"] == "message"] == [
        (b"asynq:cancel", b"retry"),
        (b"asynq:cancel", b"archive"),
    ]
    listener.close()


def test_a_queue_that_cannot_be_examined_does_not_block_the_others(
    redis_server: RedisServer, inspector: Inspector, client: Client
) -> None:
    for queue in ("a", "b", "c"):
        client.enqueue(Task("t", task_id="1"), queue=queue)
    redis_server.client.delete("asynq:{a}:pending")
    redis_server.client.set("asynq:{a}:pending", "damage")
    redis_server.client.delete("asynq:{c}:pending")
    found: list[Finding] = []
    with pytest.raises(AsynqError, match="WRONGTYPE") as refused:
        found.extend(inspector.doctor())
    assert "while queue 'a' was examined" in refused.value.__notes__[0]
    assert {finding.queue for finding in found} == {"c"}


def test_scores_beyond_the_calendar_are_listed_and_block_nothing(
    redis_server: RedisServer, inspector: Inspector, client: Client
) -> None:
    scores = {"year-10000": 253402300800.0, "never": float("inf"), "always": float("-inf"), "soon": 1e9}
    for task_id in scores:
        client.enqueue(Task("t", task_id=task_id), process_in=timedelta(hours=1))
    redis_server.client.zadd(f"{Q}scheduled", scores)
    listed = {info.id: info.next_process_at for info in inspector.tasks("default", TaskState.SCHEDULED)}
    assert listed.keys() == scores.keys()
    assert listed["soon"] == datetime.fromtimestamp(1e9, UTC)
    assert {listed["never"], listed["year-10000"]} == {MAX_DATETIME}
    forwarded = inspector._broker.execute(Forward(queue="default"))
    assert forwarded.moved == 2
    assert forwarded.next_due == 253402300800_000
