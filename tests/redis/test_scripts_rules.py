"""Rules every script keeps, seen by running them all, on each Redis version at hand."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
import redis
from redis.crc import key_slot

from asynq.protocol.doctor import Fault
from asynq.protocol.ops import (
    AcquireSlot,
    AdoptOrphans,
    Archive,
    ArchiveTask,
    CancelTask,
    Complete,
    DeleteQueue,
    DeleteTask,
    Done,
    Enqueue,
    EnqueueTick,
    ExtendAggregation,
    ExtendLease,
    FinishAggregation,
    Forward,
    GetHistory,
    GetMemory,
    GetQueueStats,
    GetTask,
    ListGroups,
    ListLostLeases,
    ListQueues,
    ListTasks,
    MoveTasks,
    PauseQueue,
    Ping,
    PurgeCompleted,
    ReclaimAggregations,
    Recover,
    ReleaseSlot,
    RepairGroups,
    Requeue,
    Retry,
    ReturnAggregation,
    RunTask,
    TakeGroup,
    TakeToken,
    Ticked,
    TrimArchive,
    Unique,
    UnpauseQueue,
    UpdatePayload,
    WriteResult,
    WriteScheduler,
    WriteServer,
)
from asynq.task_state import TaskState
from asynq_conformance.laws.presence import entry, server
from asynq_redis.lua.scripts import LuaScript
from tests.redis.driver import Driver, Signature, message, unique, watching
from tests.servers import RedisServer, find_redis_servers, server_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

MANY = 120
LUA = files("asynq_redis") / "lua"
NAMES = sorted(path.name.removesuffix(".lua") for path in LUA.iterdir() if path.name.endswith(".lua"))
REFUSED_WHEN_FULL = {"enqueue", "enqueue_tick", "write_result", "update_payload"}
SERVERS: list[str | None] = [*find_redis_servers()] or [None]
READ_ONLY = {
    *("stats", "sum_groups", "get_task", "list_tasks", "list_groups", "read_set"),
    *("history", "memory", "scan_keys", "doctor_tasks"),
}


def version_of(executable: str | None) -> str:
    """Name of a test's variant."""
    return ".".join(map(str, server_version(executable))) if executable else "none"


@pytest.fixture(params=SERVERS, ids=version_of)
def any_redis(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """A driver on an empty server of each version."""
    with RedisServer.start(executable=request.param) as server:
        yield Driver(server.client)


def run_everything(driver: Driver) -> None:
    """Each operation, on more tasks than a call may move."""
    ids = [f"{number:03d}" for number in range(MANY)]
    driver.enqueue(*map(message, ids))
    driver.enqueue(*(message(f"late-{name}", group="g") for name in ids), process_in=1)
    driver.enqueue(unique("locked"), unique=Unique(ttl=60_000, keep=True))
    driver.clock.advance(1000)
    assert driver.one(Forward(queue="q", limit=MANY)).moved == MANY
    taken = [*driver.take(50, token="a"), *driver.take(50, token="b"), *driver.take(50, token="c")]
    assert len(taken) == MANY + 1
    driver.all([ExtendLease(lease=delivery.lease, duration=1000) for delivery in taken])
    driver.all([WriteResult(lease=delivery.lease, result=b"half") for delivery in taken])
    assert set(driver.all([Requeue(delivery=delivery) for delivery in taken])) == {None}

    settlements: list[Callable[[Delivery], Op[None]]] = [
        lambda delivery: Done(delivery=delivery),
        lambda delivery: Complete(delivery=delivery),
        lambda delivery: Retry(delivery=delivery, delay=1, error="no"),
        lambda delivery: Archive(delivery=delivery, error="no", max_size=5),
    ]
    for number, settle in enumerate(settlements):
        taken = driver.take(30, token=f"settle-{number}")
        assert set(driver.all([settle(delivery) for delivery in taken])) == {None}
    driver.take(1, token="lost")
    driver.client.delete("asynq:{q}:lease")
    assert driver.one(AdoptOrphans(queue="q", grace=1)).adopted == 1
    driver.clock.advance(60_000)
    lost = driver.one(ListLostLeases(queue="q", limit=MANY)).leases
    assert driver.all([Recover(lost=lease, to="pending", error="lost") for lease in lost]) == [True]
    assert driver.one(PurgeCompleted(queue="q", limit=MANY)) == 30
    assert driver.one(TrimArchive(queue="q", max_size=0, limit=MANY)) == 5
    driver.enqueue(message("undecodable"))
    driver.client.hset("asynq:{q}:t:undecodable", "msg", b"\xff")
    assert len(driver.take(2, token="fresh")) == 1
    aggregate_everything(driver, ids)
    show_everything(driver)
    tick_everything(driver, ids)
    for state in TaskState:
        driver.one(ListTasks(queue="q", state=state, group="g", limit=MANY))
    driver.many(PauseQueue(queue="q"), UnpauseQueue(queue="q"), ListQueues(), Ping())
    driver.many(GetQueueStats(queue="q"), GetTask(queue="q", task_id="late-000"))
    for scope in ("plain", "{tagged}", "half {"):
        slot = AcquireSlot(scope=scope, holder="h", limit=1, hold=1000)
        token = TakeToken(scope=scope, limit=1, per=1000)
        released = ReleaseSlot(scope=scope, holder="h")
        assert driver.many(slot, token, released) == [True, 0, True]
    manage_everything(driver, ids)


def manage_everything(driver: Driver, ids: list[str]) -> None:
    """What operators do, to more tasks than a call may move, some of them damaged."""
    driver.enqueue(*(message(name, "m", group="g" if name > "060" else "") for name in ids))
    driver.enqueue(message("locked", "m", unique_key="asynq:{m}:unique:a:b"), unique=Unique(ttl=9_000_000))
    assert driver.all([ArchiveTask(queue="m", task_id=name) for name in ids]) == [None] * MANY
    assert driver.all([RunTask(queue="m", task_id=name) for name in ids]) == [None] * MANY
    assert driver.one(UpdatePayload(queue="m", task_id="locked", payload=b"new")) is None
    assert len(driver.take(1, "m")) == 1
    assert driver.one(CancelTask(task_id="nobody")) is False
    assert driver.one(CancelTask(task_id="locked")) is True
    move = MoveTasks(queue="m", state=TaskState.PENDING, to="archived", max_size=30, limit=MANY)
    assert driver.one(move) == MANY
    assert driver.all([DeleteTask(queue="m", task_id=name) for name in ids[-30:]]) == [None] * 30
    driver.many(GetHistory(queue="m", days=90), GetMemory(queue="m"))
    damage_everything(driver, ids)
    findings = [*driver.examine(None), *driver.examine("m")]
    assert {finding.fault for finding in findings} == set(Fault) - {Fault.STALE_PRESENCE}
    driver.examine("m", repair=True)
    assert driver.examine("m") == []
    driver.clock.advance(60_000)
    driver.enqueue(*(message(f"{name}-again", "m", group=f"{name}") for name in ids))
    for lease in driver.one(ListLostLeases(queue="m", limit=MANY)).leases:
        assert driver.one(Recover(lost=lease, to="pending", error="lost"))
    while not driver.one(DeleteQueue(queue="m", force=True, limit=MANY)).done:
        pass
    assert not [key for key in driver.client.scan_iter("asynq:{m}:*") if b":py:" not in key]


def damage_everything(driver: Driver, ids: list[str]) -> None:
    """One fault of each kind, and more tasks in no list than a call may repair."""
    client = driver.client
    driver.enqueue(*(message(name, "m") for name in ids[:70]))
    driver.enqueue(*(message(name, "m", group="lonely") for name in ids[70:80]))
    client.delete("asynq:{m}:pending", "asynq:{m}:lease")
    client.srem("asynq:{m}:groups", "lonely")
    client.hset("asynq:{m}:t:remnant", "result", b"half")
    client.zadd("asynq:{m}:retry", {"gone": 1})
    client.set("asynq:{m}:unique:stray:", "nobody")
    client.sadd("asynq:queues", "m")
    driver.enqueue(message("unseen", "n"))
    client.srem("asynq:queues", "n")


def show_everything(driver: Driver) -> None:
    """A server and a scheduler of more parts than a call may carry."""
    driver.one(WriteServer(server=server(workers=MANY), ttl=1000))
    driver.one(WriteScheduler(scheduler_id="h:1:a", entries=tuple(map(entry, range(MANY))), ttl=1000))


def tick_everything(driver: Driver, ids: list[str]) -> None:
    """More ticks than a call may decide: first to come, then due, then decided."""
    now = driver.clock.now()
    driver.enqueue(unique("finished"))
    driver.all([Archive(delivery=delivery, error="no") for delivery in driver.take(50, token="clear")])
    ticks = [
        EnqueueTick(
            entry_id=name,
            tick=now + 1,
            keep=60_000,
            enqueue=Enqueue(message=message(f"tick-{name}"), enqueue_id=name, on_conflict="replace_finished"),
        )
        for name in ids
    ]
    assert driver.all(ticks) == [Ticked(early=1)] * MANY
    driver.clock.advance(1)
    answers = driver.all(ticks)
    assert None not in {ticked.enqueued for ticked in answers}
    assert driver.all(ticks) == answers


def aggregate_everything(driver: Driver, ids: list[str]) -> None:
    """Each operation on a group of more tasks than a call may move, one of them gone, one undecodable."""
    driver.enqueue(*(message(f"member-{name}", group="many") for name in ids))
    driver.enqueue(
        message("owner", group="many", unique_key="asynq:{q}:unique:a:b"), unique=Unique(ttl=600_000)
    )
    driver.client.delete("asynq:{q}:t:member-000")
    driver.client.hset("asynq:{q}:t:member-001", "msg", b"\xff")
    driver.clock.advance(1000)
    takes = [TakeGroup(queue="q", group="many", set_id=name, grace=0, hold=1000) for name in "abc"]
    taken = driver.one(takes[0])
    assert len(taken.messages) == MANY - 1
    assert (
        driver.many(
            ExtendAggregation(taken=taken, hold=2000),
            GetQueueStats(queue="q"),
            ReturnAggregation(taken=taken),
        )[2]
        is None
    )
    assert driver.one(takes[1]).messages == taken.messages
    driver.clock.advance(60_000)
    assert driver.one(ReclaimAggregations(queue="q")) == 1
    driver.client.srem("asynq:{q}:groups", "many")
    assert driver.one(RepairGroups(queue="q")).listed == 1
    assert {group.name for group in driver.one(ListGroups(queue="q")).groups} == {"g", "many"}
    finish = FinishAggregation(
        taken=driver.one(takes[2]), enqueue=Enqueue(message=message("aggregate"), enqueue_id="e")
    )
    assert driver.one(finish) == driver.one(finish)
    assert not driver.client.exists("asynq:{q}:t:owner", "asynq:{q}:unique:a:b", "asynq:{q}:aggregation_sets")


def test_no_script_touches_a_new_key_after_a_write_moves_too_much_or_leaves_its_slot(
    any_redis: Driver,
) -> None:
    run_everything(any_redis)  # the driver fails where a script touches a key it has not looked at in time
    # The mark is no operation's: the transport puts it before a WAIT.
    assert {call.script.name for call in any_redis.calls} == set(NAMES) - {"mark"}
    for call in any_redis.calls:
        fixed, each, more = Signature.of(call.script.name).args
        assert len(call.args) <= fixed + 50 * (each + more), call.script.name
        assert len(set(call.keys)) >= 2, call.script.name
        assert len({key_slot(key.encode() if isinstance(key, str) else key) for key in call.keys}) == 1


def test_a_script_that_breaks_the_rule_is_detected(redis_server: RedisServer) -> None:
    text = "redis.call('SET', KEYS[1], 1) return redis.call('GET', KEYS[1] .. 'x')"
    with pytest.raises(redis.ResponseError, match="TOUCHED AFTER A WRITE: GET kx"):
        redis_server.client.eval(watching(f"\n{text}"), 1, "k")


@pytest.mark.parametrize("name", NAMES)
def test_a_script_declares_whether_a_full_server_may_run_it(name: str) -> None:
    first, _, rest = LuaScript(name).text(flags=True).partition("\n")
    expected = " flags=no-writes" if name in READ_ONLY else " flags=allow-oom"
    assert first == ("#!lua" if name in REFUSED_WHEN_FULL else f"#!lua{expected}")
    assert rest == LuaScript(name).text(flags=False)


def test_scripts_format_numbers_explicitly() -> None:
    texts = {
        path.name: path.read_text() for path in (*LUA.iterdir(), *(LUA / "lib").iterdir()) if path.is_file()
    }
    assert [name for name, text in texts.items() if re.search(r"\btostring\b", text)] == []
