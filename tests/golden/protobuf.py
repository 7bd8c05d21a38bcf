"""A parser for the protobuf wire format and Go's TaskMessage, independent of the tested one."""

from __future__ import annotations

from typing import Any

TASK_FIELDS = {
    1: "type",
    2: "payload",
    3: "id",
    4: "queue",
    5: "retry",
    6: "retried",
    7: "error_msg",
    8: "timeout",
    9: "deadline",
    10: "unique_key",
    11: "last_failed_at",
    12: "retention",
    13: "completed_at",
    14: "group_key",
    15: "headers",
}
RECORD_FIELDS = {
    "ServerInfo": (
        *("host", "pid", "id", "concurrency", "queues", "strict_priority", "status", "started"),
        "active_worker_count",
    ),
    "WorkerInfo": (
        *("host", "pid", "server_id", "task_id", "task_type", "payload", "queue", "started", "deadline"),
    ),
    "SchedulerEntry": ("id", "spec", "task_type", "payload", "options", "next", "prev"),
    "SchedulerEnqueueEvent": ("task_id", "enqueued"),
}
"""Names of the fields 1, 2, 3, ..."""
MAPS, LISTS, INSTANTS = {"queues"}, {"options"}, {"started", "deadline", "next", "prev", "enqueued"}
VARINT, BYTES = 0, 2


def decode_task(data: bytes) -> dict[str, Any]:
    """The present fields by name; headers as a dict. Raises KeyError for an unknown field."""
    task: dict[str, Any] = {}
    for number, value in _fields(data):
        name = TASK_FIELDS[number]
        if name == "headers":
            entry = dict(_fields(value))
            task.setdefault(name, {})[entry.get(1, b"")] = entry.get(2, b"")
        else:
            task[name] = value
    return task


def decode_record(kind: str, data: bytes) -> dict[str, Any]:
    """The fields of a server, worker, entry or event; instants as seconds and microseconds."""
    record: dict[str, Any] = {}
    for number, value in _fields(data):
        name = RECORD_FIELDS[kind][number - 1]
        if name in MAPS:
            entry = dict(_fields(value))
            record.setdefault(name, {})[entry[1]] = entry[2]
        elif name in LISTS:
            record.setdefault(name, []).append(value)
        elif name in INSTANTS:
            instant = dict(_fields(value))
            record[name] = instant.get(1, 0), instant.get(2, 0) // 1000
        else:
            record[name] = value
    return record


def _fields(data: bytes) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, kind = tag >> 3, tag & 7
        value: int | bytes
        if kind == VARINT:
            value, position = _varint(data, position)
        elif kind == BYTES:
            length, position = _varint(data, position)
            value, position = data[position : position + length], position + length
            assert len(value) == length
        else:
            message = f"wire type {kind} of field {number}"
            raise ValueError(message)
        found.append((number, value))
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, position
