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
    AdvanceSequences,
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
    PauseSchedule,
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
    UpdateTask,
    WriteResult,
    WriteSchedule,
    WriteScheduler,
    WriteServer,
)
from asynq.protocol.sequences import SEQUENCE_HEADER
from asynq.task_state import TaskState
from asynq_conformance.laws.presence import entry, server
from asynq_conformance.laws.schedules import schedule
from asynq_redis.lua.scripts import LuaScript
from asynq_redis.wire.keys import ALL_SERVERS, ALL_WORKERS
from tests.redis.script_lab import ScriptLab, Signature, message, unique, watching
from tests.redis.script_programs import MANY, follow_everything, transfer_everything
from tests.servers import RedisServer, find_redis_servers, server_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

LUA = files("asynq_redis") / "lua"
NAMES = sorted(path.name.removesuffix(".lua") for path in LUA.iterdir() if path.name.endswith(".lua"))
REFUSED_WHEN_FULL = {
    *("arrive", "enqueue", "enqueue_tick", "import", "write_result", "update_task", "write_schedule")
}
SERVERS: list[str | None] = [*find_redis_servers()] or [None]
READ_ONLY = {
    *("stats", "sum_groups", "get_task", "list_tasks", "list_groups", "read_set"),
    *("history", "memory", "scan_keys", "doctor_tasks"),
}


def version_of(executable: str | None) -> str:
    """Name of a test's variant."""
    return ".".join(map(str, server_version(executable))) if executable else "none"


@pytest.fixture(params=SERVERS, ids=version_of)
def any_redis(request: pytest.FixtureRequest) -> Iterator[ScriptLab]:
    """A lab on an empty server of each version."""
    with RedisServer.start(executable=request.param) as server:
        yield ScriptLab(server.client)


def run_everything(lab: ScriptLab) -> None:
    """Each operation, on more tasks than a call may move."""
    ids = [f"{number:03d}" for number in range(MANY)]
    lab.enqueue(*map(message, ids))
    lab.enqueue(*(message(f"late-{name}", group="g") for name in ids), process_in=1)
    lab.enqueue(unique("locked"), unique=Unique(ttl=60_000, keep=True))
    lab.clock.advance(1000)
    assert lab.one(Forward(queue="q", limit=MANY)).moved == MANY
    taken = [*lab.take(50, token="a"), *lab.take(50, token="b"), *lab.take(50, token="c")]
    assert len(taken) == MANY + 1
    lab.all([ExtendLease(lease=delivery.lease, duration=1000) for delivery in taken])
    lab.all([WriteResult(lease=delivery.lease, result=b"half") for delivery in taken])
    assert set(lab.all([Requeue(delivery=delivery) for delivery in taken])) == {None}

    replace_everything(lab, ids)
    settlements: list[Callable[[Delivery], Op[None]]] = [
        lambda delivery: Done(delivery=delivery),
        lambda delivery: Complete(delivery=delivery),
        lambda delivery: Retry(delivery=delivery, delay=1, error="no"),
        lambda delivery: Archive(delivery=delivery, error="no", max_size=5),
    ]
    for number, settle in enumerate(settlements):
        taken = lab.take(30, token=f"settle-{number}")
        assert set(lab.all([settle(delivery) for delivery in taken])) == {None}
    lab.take(1, token="lost")
    lab.client.delete("asynq:{q}:lease")
    assert lab.one(AdoptOrphans(queue="q", grace=1)).adopted == 1
    lab.clock.advance(60_000)
    lost = lab.one(ListLostLeases(queue="q", limit=MANY)).leases
    assert lab.all([Recover(lost=lease, to="pending", error="lost") for lease in lost]) == [True]
    assert lab.one(PurgeCompleted(queue="q", limit=MANY)) == 30
    assert lab.one(TrimArchive(queue="q", max_size=0, limit=MANY)) == 5
    lab.enqueue(message("undecodable"))
    lab.client.hset("asynq:{q}:t:undecodable", "msg", b"\xff")
    assert len(lab.take(2, token="fresh")) == 1
    aggregate_everything(lab, ids)
    show_everything(lab)
    tick_everything(lab, ids)
    for state in TaskState:
        lab.one(ListTasks(queue="q", state=state, group="g", limit=MANY))
    lab.many(PauseQueue(queue="q"), UnpauseQueue(queue="q"), ListQueues(), Ping())
    lab.many(GetQueueStats(queue="q"), GetTask(queue="q", task_id="late-000"))
    for scope in ("plain", "{tagged}", "half {"):
        slot = AcquireSlot(scope=scope, holder="h", limit=1, hold=1000)
        token = TakeToken(scope=scope, limit=1, per=1000)
        released = ReleaseSlot(scope=scope, holder="h")
        assert lab.many(slot, token, released) == [True, 0, True]
    manage_everything(lab, ids)
    sequence_everything(lab, ids)
    follow_everything(lab, ids)
    transfer_everything(lab, ids)


def sequence_everything(lab: ScriptLab, ids: list[str]) -> None:
    """Two sequences of more tasks than a call may move, some of which a Go client ended or deleted."""
    sequences = ("s1", "s2")
    messages = [
        message(f"{name}-{sequence}", "s", headers={SEQUENCE_HEADER: sequence}, retention=60)
        for name in ids
        for sequence in sequences
    ]
    lab.enqueue(*messages)
    lab.enqueue(unique("locked", headers={SEQUENCE_HEADER: "s1"}), unique=Unique(ttl=60_000))
    settlements: list[Callable[[Delivery], Op[None]]] = [
        lambda delivery: Done(delivery=delivery),
        lambda delivery: Complete(delivery=delivery),
        lambda delivery: Archive(delivery=delivery, error="no"),
    ]
    for number, settle in enumerate(settlements):
        taken = lab.take(5, "s", token=f"sequence-{number}")
        assert len(taken) == len(sequences)
        lab.all([settle(delivery) for delivery in taken])
    lab.take(5, "s", token="to be lost")
    lab.clock.advance(60_000)
    lost = lab.one(ListLostLeases(queue="s")).leases
    assert lab.all([Recover(lost=lease, to="archived", error="lost") for lease in lost]) == [True] * 2
    lab.all([DeleteTask(queue="s", task_id=f"{ids[4]}-{sequence}") for sequence in sequences])
    lab.all([RunTask(queue="s", task_id=f"{ids[3]}-{sequence}") for sequence in sequences])
    lab.client.delete(*(f"asynq:{{s}}:t:{name}-s1" for name in ids[5:80]))
    for _ in range(2):
        lab.one(AdvanceSequences(queue="s"))
    assert [one.message.id for one in lab.take(5, "s")] == [f"{ids[5]}-s2", f"{ids[80]}-s1"]
    for state in (TaskState.SCHEDULED, TaskState.ARCHIVED):
        lab.one(MoveTasks(queue="s", state=state, to="pending", limit=MANY))
    lab.one(MoveTasks(queue="s", state=TaskState.SCHEDULED, to="archived", limit=MANY))
    lab.one(MoveTasks(queue="s", state=TaskState.ARCHIVED, to="pending", limit=MANY))
    lab.all([Done(delivery=delivery) for delivery in lab.take(5, "s")])
    lab.client.delete("asynq:{s}:active", "asynq:{s}:lease")
    while not lab.one(DeleteQueue(queue="s", force=True, limit=MANY)).done:
        pass
    assert not list(lab.client.scan_iter("asynq:{s}:py:seq*"))


def replace_everything(lab: ScriptLab, ids: list[str]) -> None:
    """Tasks that replace one another, in the same call and in different ones, pending and scheduled."""
    lock, latest = "asynq:{d}:unique:email:", Unique(ttl=60_000, until="start", on_duplicate="replace")
    for delay in (None, 1000):
        replacing = [
            Enqueue(
                message=message(f"{name}-{delay}", "d", unique_key=lock),
                enqueue_id=name,
                unique=latest,
                process_in=delay,
            )
            for name in ids
        ]
        # The first task replaces none: something is written before the first replacement.
        first = Enqueue(message=message(f"first-{delay}", "d"), enqueue_id="first")
        made = lab.all([first, *replacing])
        assert {answer.due_at > lab.clock.now() for answer in made[1:]} == {delay is not None}
    assert lab.one(GetQueueStats(queue="d")).scheduled == 1


def manage_everything(lab: ScriptLab, ids: list[str]) -> None:
    """What operators do, to more tasks than a call may move, some of them damaged."""
    lab.enqueue(*(message(name, "m", group="g" if name > "060" else "") for name in ids))
    lab.enqueue(message("locked", "m", unique_key="asynq:{m}:unique:a:b"), unique=Unique(ttl=9_000_000))
    assert lab.all([ArchiveTask(queue="m", task_id=name) for name in ids]) == [None] * MANY
    assert lab.all([RunTask(queue="m", task_id=name) for name in ids]) == [None] * MANY
    assert lab.one(UpdateTask(queue="m", task_id="locked", payload=b"new")) is None
    assert len(lab.take(1, "m")) == 1
    assert lab.one(CancelTask(task_id="nobody")) is False
    assert lab.one(CancelTask(task_id="locked")) is True
    move = MoveTasks(queue="m", state=TaskState.PENDING, to="archived", max_size=30, limit=MANY)
    assert lab.one(move) == MANY
    assert lab.all([DeleteTask(queue="m", task_id=name) for name in ids[-30:]]) == [None] * 30
    lab.many(GetHistory(queue="m", days=90), GetMemory(queue="m"))
    damage_everything(lab, ids)
    findings = [*lab.examine(None), *lab.examine("m")]
    assert {finding.fault for finding in findings} == set(Fault) - {Fault.STALE_PRESENCE}
    lab.examine("m", repair=True)
    assert lab.examine("m") == []
    lab.clock.advance(60_000)
    lab.enqueue(*(message(f"{name}-again", "m", group=f"{name}") for name in ids))
    for lease in lab.one(ListLostLeases(queue="m", limit=MANY)).leases:
        assert lab.one(Recover(lost=lease, to="pending", error="lost"))
    while not lab.one(DeleteQueue(queue="m", force=True, limit=MANY)).done:
        pass
    assert not [key for key in lab.client.scan_iter("asynq:{m}:*") if b":py:" not in key]


def damage_everything(lab: ScriptLab, ids: list[str]) -> None:
    """One fault of each kind, and more tasks in no list than a call may repair."""
    client = lab.client
    lab.enqueue(*(message(name, "m") for name in ids[:70]))
    lab.enqueue(*(message(name, "m", group="lonely") for name in ids[70:80]))
    client.delete("asynq:{m}:pending", "asynq:{m}:lease")
    client.srem("asynq:{m}:groups", "lonely")
    lab.enqueue(*(message(f"placed-{name}", "m", headers={SEQUENCE_HEADER: "x"}) for name in ids[:70]))
    client.delete("asynq:{m}:py:seq:x")
    client.hset("asynq:{m}:t:remnant", "result", b"half")
    client.zadd("asynq:{m}:retry", {"gone": 1})
    client.set("asynq:{m}:unique:stray:", "nobody")
    client.sadd("asynq:queues", "m")
    lab.enqueue(message("unseen", "n"))
    client.srem("asynq:queues", "n")


def show_everything(lab: ScriptLab) -> None:
    """A server and a scheduler of more parts than a call may carry."""
    lab.one(WriteServer(server=server(workers=MANY), ttl=1000))
    lab.one(WriteScheduler(scheduler_id="h:1:a", entries=tuple(map(entry, range(MANY))), ttl=1000))


def tick_everything(lab: ScriptLab, ids: list[str]) -> None:
    """More ticks than a call may decide: first to come, then due, then decided."""
    now = lab.clock.now()
    lab.enqueue(unique("finished"))
    lab.all([Archive(delivery=delivery, error="no") for delivery in lab.take(50, token="clear")])
    ticks = [
        EnqueueTick(
            entry_id=name,
            tick=now + 1,
            keep=60_000,
            enqueue=Enqueue(message=message(f"tick-{name}"), enqueue_id=name, on_conflict="replace_finished"),
        )
        for name in ids
    ]
    assert lab.all(ticks) == [Ticked(early=1)] * MANY
    lab.clock.advance(1)
    answers = lab.all(ticks)
    assert None not in {ticked.enqueued for ticked in answers}
    assert lab.all(ticks) == answers
    lab.one(WriteSchedule(schedule=schedule("nightly")))
    pauses = [
        PauseSchedule(name=name, paused=paused) for name in ("nightly", "x") for paused in (True, False)
    ]
    assert lab.all(pauses) == [True, True, False, False]


def aggregate_everything(lab: ScriptLab, ids: list[str]) -> None:
    """Each operation on a group of more tasks than a call may move, one of them gone, one undecodable."""
    lab.enqueue(*(message(f"member-{name}", group="many") for name in ids))
    lab.enqueue(message("owner", group="many", unique_key="asynq:{q}:unique:a:b"), unique=Unique(ttl=600_000))
    lab.client.delete("asynq:{q}:t:member-000")
    lab.client.hset("asynq:{q}:t:member-001", "msg", b"\xff")
    lab.clock.advance(1000)
    takes = [TakeGroup(queue="q", group="many", set_id=name, grace=0, hold=1000) for name in "abc"]
    taken = lab.one(takes[0])
    assert len(taken.messages) == MANY - 1
    assert (
        lab.many(
            ExtendAggregation(taken=taken, hold=2000),
            GetQueueStats(queue="q"),
            ReturnAggregation(taken=taken),
        )[2]
        is None
    )
    assert lab.one(takes[1]).messages == taken.messages
    lab.clock.advance(60_000)
    assert lab.one(ReclaimAggregations(queue="q")) == 1
    lab.client.srem("asynq:{q}:groups", "many")
    assert lab.one(RepairGroups(queue="q")).listed == 1
    assert {group.name for group in lab.one(ListGroups(queue="q")).groups} == {"g", "many"}
    finish = FinishAggregation(
        taken=lab.one(takes[2]), enqueue=Enqueue(message=message("aggregate"), enqueue_id="e")
    )
    assert lab.one(finish) == lab.one(finish)
    assert not lab.client.exists("asynq:{q}:t:owner", "asynq:{q}:unique:a:b", "asynq:{q}:aggregation_sets")


def test_no_script_touches_a_new_key_after_a_write_moves_too_much_or_leaves_its_slot(
    any_redis: ScriptLab,
) -> None:
    run_everything(any_redis)  # the lab fails where a script touches a key it has not looked at in time
    # The mark is no operation's: the transport puts it before a WAIT.
    assert {call.script.name for call in any_redis.calls} == set(NAMES) - {"mark"}
    for call in any_redis.calls:
        fixed, each, more = Signature.of(call.script.name).args
        assert len(call.args) <= fixed + 50 * (each + more), call.script.name
        assert len(set(call.keys)) >= 2, call.script.name
        # On a single server the heartbeat writes these indexes, too. On a cluster it does that separately.
        keys = [key for key in call.keys if key not in (ALL_SERVERS, ALL_WORKERS)]
        assert len({key_slot(key.encode() if isinstance(key, str) else key) for key in keys}) == 1


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
