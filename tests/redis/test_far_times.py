"""Any stored number as a time, written by a peer, breaks neither listings nor processing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asynq import Inspector
from asynq.instants import MAX_DATETIME, MIN_DATETIME
from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.task_state import TaskState
from asynq.testing import run_until_idle
from asynq_redis import RedisBroker
from asynq_redis.wire import presence_records, task_message
from asynq_redis.wire.keys import ALL_SCHEDULERS, ALL_SERVERS, QueueKeys, SchedulerKeys, ServerKeys, history

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq import Context, Task
    from tests.servers import RedisServer

INT64 = st.one_of(st.integers(-(2**63), 2**63 - 1), st.sampled_from((-(2**63), 2**63 - 1, 253402300800)))
INT32 = st.integers(-(2**31), 2**31 - 1)
SCORES = st.floats(allow_nan=False)
SINCE = st.one_of(st.binary(max_size=30), INT64.map(b"%d".__mod__))
KEYS = QueueKeys("q")
ZSETS = {
    TaskState.SCHEDULED: KEYS.scheduled,
    TaskState.RETRY: KEYS.retry,
    TaskState.ARCHIVED: KEYS.archived,
    TaskState.COMPLETED: KEYS.completed,
}
MESSAGES = st.builds(
    TaskMessage,
    id=st.just("t"),
    type=st.just("t"),
    queue=st.just("q"),
    max_retry=INT32,
    retried=INT32,
    last_failed_at=INT64,
    timeout=INT64,
    deadline=INT64,
    retention=INT64,
    completed_at=INT64,
)

many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url)
    yield broker
    broker.close()


def write(server: RedisServer, message: TaskMessage, state: TaskState, score: float, since: bytes) -> None:
    """The task as a peer writes it."""
    server.flush()
    server.client.sadd("asynq:queues", "q")
    fields = {"msg": task_message.encode(message), "state": state.value, "pending_since": since}
    server.client.hset(KEYS.task("t"), mapping=fields)  # type: ignore[arg-type]
    if state in ZSETS:
        server.client.zadd(ZSETS[state], {"t": score})
    elif state is TaskState.AGGREGATING:
        server.client.hset(KEYS.task("t"), "group", "g")
        server.client.sadd(KEYS.groups, "g")
        server.client.zadd(KEYS.group("g"), {"t": score})
    else:
        server.client.lpush(KEYS.pending if state is TaskState.PENDING else KEYS.active, "t")
    if state is TaskState.ACTIVE:
        server.client.zadd(KEYS.lease, {"t": score})


@many
@given(MESSAGES, st.sampled_from(TaskState), st.tuples(SCORES, SINCE))
def test_a_task_with_any_times_can_be_shown(
    redis_server: RedisServer,
    broker: RedisBroker,
    message: TaskMessage,
    state: TaskState,
    stored: tuple[float, bytes],
) -> None:
    write(redis_server, message, state, *stored)
    with Inspector(broker) as inspector:
        [info] = inspector.tasks("q", state, "g" if state is TaskState.AGGREGATING else None)
        assert inspector.task("q", "t") == info
        assert inspector.queue_info("q").size == 1
        assert [group.size for group in inspector.groups("q")] == [1] * (state is TaskState.AGGREGATING)
        list(inspector.doctor())
    for shown in (info.deadline, info.last_failed_at, info.completed_at, info.next_process_at):
        assert shown is None or MIN_DATETIME <= shown <= MAX_DATETIME


@many
@given(MESSAGES, st.sampled_from(TaskState), SCORES)
def test_maintenance_works_with_any_times(
    redis_server: RedisServer, broker: RedisBroker, message: TaskMessage, state: TaskState, score: float
) -> None:
    write(redis_server, message, state, score, b"")
    upkeep: list[ops.Op[Any]] = [
        ops.Forward(queue="q"),
        ops.ListLostLeases(queue="q"),
        ops.AdoptOrphans(queue="q", grace=30_000),
        ops.PurgeCompleted(queue="q"),
        ops.TrimArchive(queue="q"),
        ops.TakeGroup(queue="q", group="g", set_id="s", grace=1000, max_delay=1, hold=1000),
    ]
    assert not [answer for answer in broker.execute_many(upkeep) if isinstance(answer, Exception)]


@many
@given(MESSAGES, st.booleans())
def test_a_task_with_any_times_can_be_processed(
    redis_server: RedisServer, broker: RedisBroker, message: TaskMessage, fails: bool
) -> None:
    def handler(ctx: Context, task: Task) -> None:
        if fails:
            raise OSError("boom")

    write(redis_server, message, TaskState.PENDING, 0, b"")
    [run] = run_until_idle(broker, handler, raise_errors=False)
    assert run.task_id == "t"
    assert not redis_server.client.llen(KEYS.active)


def moment(seconds: int, nanos: int) -> Any:
    return presence_records._classes()["Timestamp"](seconds=seconds, nanos=nanos)


@many
@given(INT64, INT32)
def test_servers_entries_and_events_with_any_times_can_be_shown(
    redis_server: RedisServer, broker: RedisBroker, seconds: int, nanos: int
) -> None:
    redis_server.flush()
    client, when = redis_server.client, moment(seconds, nanos)
    server = ServerKeys.of("host", 1, "id")
    client.zadd(ALL_SERVERS, {server.server: 1e18})
    client.set(
        server.server,
        presence_records._bytes("ServerInfo", host="host", pid=1, server_id="id", start_time=when),
    )
    run = presence_records._bytes("WorkerInfo", task_id="t", queue="q", start_time=when, deadline=when)
    client.hset(server.workers, "t", run)
    entries = SchedulerKeys("s").entries
    client.zadd(ALL_SCHEDULERS, {entries: 1e18})
    client.lpush(
        entries,
        presence_records._bytes("SchedulerEntry", id="e", next_enqueue_time=when, prev_enqueue_time=when),
    )
    client.zadd(
        history("e"), {presence_records._bytes("SchedulerEnqueueEvent", task_id="t", enqueue_time=when): 1}
    )
    with Inspector(broker) as inspector:
        assert [len(one.workers) for one in inspector.servers()] == [1]
        assert [entry.id for entry in inspector.scheduler_entries()] == ["e"]
        assert [event.task_id for event in inspector.enqueue_events("e")] == ["t"]
