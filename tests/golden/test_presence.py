"""Records of servers, schedulers and events: read and written like in Go."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from asynq.clock import FakeClock
from asynq.protocol import ops
from asynq.protocol.presence import ServerInfo, WorkerInfo
from asynq_redis import RedisBroker
from tests.golden.dumps import live_rows, load, restore, rows
from tests.golden.protobuf import decode_record

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers import RedisServer

SERVERS = ["active_task", "server_idle_heartbeat", "server_stopped_heartbeat", "server_worker_heartbeat"]
SCHEDULERS = ["scheduler", "scheduler_fractional_heartbeat"]
PRESENCE = ("asynq:servers", "asynq:workers", "asynq:schedulers", "asynq:scheduler_history:")


@pytest.fixture
def broker(redis_server: RedisServer) -> Iterator[RedisBroker]:
    broker = RedisBroker(redis_server.url, clock=FakeClock())
    yield broker
    broker.close()


def at(printed: str) -> Any:
    """An instant of Go's JSON, cut to microseconds; None for Go's zero time."""
    if printed.startswith("0001"):
        return None
    whole, _, fraction = printed.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}.{fraction[:6]:0<6}+00:00")


def payload(printed: Any) -> bytes:
    return base64.b64decode(printed["b64"] if isinstance(printed, dict) else printed or "")


@pytest.mark.parametrize("scenario", [*SERVERS, "server_shutdown"])
def test_servers_are_read_like_in_go(scenario: str, broker: RedisBroker, redis_server: RedisServer) -> None:
    dump = load(scenario)
    restore(dump, redis_server.client)
    printed = dump["inspector"]["Servers"] or []
    assert broker.execute(ops.ListServers()) == tuple(map(server, printed))


def server(printed: Any) -> ServerInfo:
    running = [
        WorkerInfo(
            task_id=each["TaskID"],
            task_type=each["TaskType"],
            payload=payload(each["TaskPayload"]),
            queue=each["Queue"],
            started_at=at(each["Started"]),
            deadline=at(each["Deadline"]),
        )
        for each in printed["ActiveWorkers"]
    ]
    return ServerInfo(
        id=printed["ID"],
        host=printed["Host"],
        pid=printed["PID"],
        started_at=at(printed["Started"]),
        concurrency=printed["Concurrency"],
        queues=printed["Queues"],
        strict_priority=printed["StrictPriority"],
        status=printed["Status"],
        workers=tuple(sorted(running, key=lambda worker: worker.started_at)),
    )


@pytest.mark.parametrize("scenario", SCHEDULERS)
def test_entries_and_their_events_are_read_like_in_go(
    scenario: str, broker: RedisBroker, redis_server: RedisServer
) -> None:
    dump = load(scenario)
    restore(dump, redis_server.client)
    printed = sorted(dump["inspector"]["SchedulerEntries"], key=lambda each: each["ID"])
    entries = broker.execute(ops.ListSchedulerEntries())
    assert [
        (each.id, each.spec, each.task_type, each.payload, each.next_enqueue_at, each.prev_enqueue_at)
        for each in entries
    ] == [
        (each["ID"], each["Spec"], each["Type"], payload(each["Payload"]), at(each["Next"]), at(each["Prev"]))
        for each in printed
    ]
    for ours, theirs in zip(entries, printed, strict=True):
        # Go's own parser drops the options TaskID and Group.
        assert [text for text in ours.options if text[:6] not in ("TaskID", "Group(")] == theirs["Opts"]
        events = broker.execute(ops.ListEnqueueEvents(entry_id=ours.id))
        assert [(event.task_id, event.enqueued_at) for event in events] == [
            (event["TaskID"], at(event["EnqueuedAt"])) for event in theirs["ListSchedulerEnqueueEvents"] or []
        ]


def presence(keyspace: Iterator[tuple[str, str, int, Any]]) -> dict[str, Any]:
    """The records of servers and schedulers that Go's tools read, decoded."""
    found: dict[str, Any] = {}
    for key, kind, ttl, value in keyspace:
        if not key.startswith(PRESENCE):
            continue
        content = value
        if key.startswith("asynq:servers:"):
            content = decode_record("ServerInfo", value)
        elif key.startswith("asynq:workers:"):
            content = sorted((decode_record("WorkerInfo", each) for each in value.values()), key=str)
        elif key.startswith("asynq:schedulers:"):
            content = [decode_record("SchedulerEntry", each) for each in value]
        elif key.startswith("asynq:scheduler_history:"):
            content = [(decode_record("SchedulerEnqueueEvent", member), score) for member, score in value]
        found[key] = kind, content
        found[f"{key} ttl"] = ttl
    return found


@pytest.mark.parametrize("scenario", [*SERVERS, *SCHEDULERS])
def test_servers_and_entries_are_written_like_in_go(
    scenario: str, broker: RedisBroker, redis_server: RedisServer
) -> None:
    dump = load(scenario)
    restore(dump, redis_server.client)
    servers = broker.execute(ops.ListServers())
    entries = {each.id: each for each in broker.execute(ops.ListSchedulerEntries())}
    events = {each: broker.execute(ops.ListEnqueueEvents(entry_id=each, limit=1000)) for each in entries}
    theirs = presence(rows(dump))
    redis_server.flush()

    clock = broker.clock
    assert isinstance(clock, FakeClock)
    for index, ttl in (("asynq:servers", 10), ("asynq:schedulers", 4 if scenario == "scheduler" else 3)):
        for member, score in theirs.get(index, ("", []))[1]:
            clock.set((int(score) - ttl) * 1000)
            if index == "asynq:servers":
                broker.execute(ops.WriteServer(server=servers[0], ttl=ttl * 1000))
            else:
                name = member.decode().removeprefix("asynq:schedulers:{").removesuffix("}")
                registered = [each["id"].decode() for each in theirs[member.decode()][1]][::-1]
                listed = tuple(entries[entry_id] for entry_id in registered)
                broker.execute(ops.WriteScheduler(scheduler_id=name, entries=listed, ttl=ttl * 1000))
    for entry_id, found in events.items():
        for event in found:
            broker.execute(ops.RecordEnqueueEvent(entry_id=entry_id, event=event, keep=1000_000))
    ours = presence(live_rows(redis_server.client))
    assert {key: value for key, value in ours.items() if not key.endswith(" ttl")} == {
        key: value for key, value in theirs.items() if not key.endswith(" ttl")
    }
    for key in (key for key in ours if key.endswith(" ttl")):
        # In Go, histories never expire, and records expire only at whole seconds.
        if not key.startswith("asynq:scheduler_history:") and scenario != "scheduler_fractional_heartbeat":
            assert ours[key] == pytest.approx(theirs[key], abs=10_000)
            assert (ours[key] > 0) == (theirs[key] > 0)
        else:
            assert ours[key] > 0 or key == "asynq:schedulers ttl"
