"""Encode servers, workers, scheduler entries and enqueue events as Go asynq's protobuf messages."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from asynq.instants import EPOCH, instant_of
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
from asynq_redis.wire.protobuf_classes import decode_error, message_classes
from asynq_redis.wire.task_message import UndecodableMessageError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

_TABLES = {
    "Timestamp": {1: ("seconds", "int64"), 2: ("nanos", "int32")},
    "ServerInfo": {
        1: ("host", "string"),
        2: ("pid", "int32"),
        3: ("server_id", "string"),
        4: ("concurrency", "int32"),
        5: ("queues", "map<string, int32>"),
        6: ("strict_priority", "bool"),
        7: ("status", "string"),
        8: ("start_time", "Timestamp"),
        9: ("active_worker_count", "int32"),
    },
    "WorkerInfo": {
        1: ("host", "string"),
        2: ("pid", "int32"),
        3: ("server_id", "string"),
        4: ("task_id", "string"),
        5: ("task_type", "string"),
        6: ("task_payload", "bytes"),
        7: ("queue", "string"),
        8: ("start_time", "Timestamp"),
        9: ("deadline", "Timestamp"),
    },
    "SchedulerEntry": {
        1: ("id", "string"),
        2: ("spec", "string"),
        3: ("task_type", "string"),
        4: ("task_payload", "bytes"),
        5: ("enqueue_options", "repeated string"),
        6: ("next_enqueue_time", "Timestamp"),
        7: ("prev_enqueue_time", "Timestamp"),
    },
    "SchedulerEnqueueEvent": {1: ("task_id", "string"), 2: ("enqueue_time", "Timestamp")},
}

_NEVER = -62135596800
"""Unix seconds of Go's zero time, which means never."""


@cache
def _classes() -> dict[str, Any]:
    return message_classes("asynq", _TABLES)


def encode_server(server: ServerInfo) -> bytes:
    """Encode a server and the number of its workers."""
    return _bytes(
        "ServerInfo",
        host=server.host,
        pid=server.pid,
        server_id=server.id,
        concurrency=server.concurrency,
        queues=dict(server.queues),
        strict_priority=server.strict_priority,
        status=server.status,
        start_time=_timestamp(server.started_at),
        active_worker_count=len(server.workers),
    )


def encode_worker(server: ServerInfo, worker: WorkerInfo) -> bytes:
    """Encode a worker of a server."""
    return _bytes(
        "WorkerInfo",
        host=server.host,
        pid=server.pid,
        server_id=server.id,
        task_id=worker.task_id,
        task_type=worker.task_type,
        task_payload=worker.payload,
        queue=worker.queue,
        start_time=_timestamp(worker.started_at),
        deadline=_timestamp(worker.deadline),
    )


def decode_server(data: bytes, workers: Iterable[bytes]) -> ServerInfo:
    """Decode a server and its workers. Undecodable workers are left out.

    Raises:
        UndecodableMessageError: The server cannot be decoded.
    """
    found = _parsed("ServerInfo", data)
    return ServerInfo(
        id=found.server_id,
        host=found.host,
        pid=found.pid,
        started_at=_instant(found, "start_time") or EPOCH,
        concurrency=found.concurrency,
        queues=dict(found.queues),
        strict_priority=found.strict_priority,
        status=found.status,
        workers=tuple(sorted(_workers(workers), key=lambda worker: (worker.started_at, worker.task_id))),
    )


def _workers(records: Iterable[bytes]) -> Iterable[WorkerInfo]:
    for data in records:
        try:
            found = _parsed("WorkerInfo", data)
            yield WorkerInfo(
                task_id=found.task_id,
                task_type=found.task_type,
                payload=found.task_payload,
                queue=found.queue,
                started_at=_instant(found, "start_time") or EPOCH,
                deadline=_instant(found, "deadline") or EPOCH,
            )
        except UndecodableMessageError:
            continue


def encode_entry(entry: SchedulerEntry) -> bytes:
    """Encode a scheduler entry."""
    return _bytes(
        "SchedulerEntry",
        id=entry.id,
        spec=entry.spec,
        task_type=entry.task_type,
        task_payload=entry.payload,
        enqueue_options=entry.options,
        next_enqueue_time=_timestamp(entry.next_enqueue_at),
        prev_enqueue_time=_timestamp(entry.prev_enqueue_at),
    )


def decode_entry(data: bytes) -> SchedulerEntry:
    """Decode a scheduler entry.

    Raises:
        UndecodableMessageError: The data is not a scheduler entry.
    """
    found = _parsed("SchedulerEntry", data)
    return SchedulerEntry(
        id=found.id,
        spec=found.spec,
        task_type=found.task_type,
        payload=found.task_payload,
        options=tuple(found.enqueue_options),
        next_enqueue_at=_instant(found, "next_enqueue_time"),
        prev_enqueue_at=_instant(found, "prev_enqueue_time"),
    )


def encode_event(event: EnqueueEvent) -> bytes:
    """Encode an enqueue event."""
    return _bytes("SchedulerEnqueueEvent", task_id=event.task_id, enqueue_time=_timestamp(event.enqueued_at))


def decode_event(data: bytes) -> EnqueueEvent:
    """Decode an enqueue event.

    Raises:
        UndecodableMessageError: The data is not an enqueue event.
    """
    found = _parsed("SchedulerEnqueueEvent", data)
    return EnqueueEvent(task_id=found.task_id, enqueued_at=_instant(found, "enqueue_time") or EPOCH)


def _bytes(name: str, **values: Any) -> bytes:
    data: bytes = _classes()[name](**values).SerializeToString(deterministic=True)
    return data


def _parsed(name: str, data: bytes) -> Any:
    try:
        return _classes()[name].FromString(data)
    except decode_error() as error:
        raise UndecodableMessageError(str(error)) from error


def _timestamp(instant: datetime | None) -> Any:
    if instant is None:
        return _classes()["Timestamp"](seconds=_NEVER)
    seconds, rest = divmod(instant - EPOCH, timedelta(seconds=1))
    return _classes()["Timestamp"](seconds=seconds, nanos=rest.microseconds * 1000)


def _instant(message: Any, field: str) -> datetime | None:
    """The instant, truncated to microseconds and clamped to what all time zones have. None for never."""
    found = getattr(message, field)
    if not message.HasField(field) or found.seconds == _NEVER:
        return None
    within = instant_of(found.seconds * 1000 + found.nanos // 1_000_000)
    return within + timedelta(microseconds=found.nanos // 1000 % 1000)
