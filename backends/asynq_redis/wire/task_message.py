"""Encode and decode TaskMessage as Go asynq's protobuf message."""

from __future__ import annotations

from functools import cache, lru_cache
from operator import attrgetter
from typing import Any

from asynq.protocol.message import TaskMessage
from asynq.protocol.value_sizes import message_size
from asynq_redis.wire.protobuf_classes import decode_error, message_classes, varint
from asynq_redis.wire.sizes import LARGE_BYTES

_FIELDS: dict[int, tuple[str, str, str]] = {
    1: ("type", "type", "string"),
    2: ("payload", "payload", "bytes"),
    3: ("id", "id", "string"),
    4: ("queue", "queue", "string"),
    5: ("retry", "max_retry", "int32"),
    6: ("retried", "retried", "int32"),
    7: ("error_msg", "error", "string"),
    8: ("timeout", "timeout", "int64"),
    9: ("deadline", "deadline", "int64"),
    10: ("unique_key", "unique_key", "string"),
    11: ("last_failed_at", "last_failed_at", "int64"),
    12: ("retention", "retention", "int64"),
    13: ("completed_at", "completed_at", "int64"),
    14: ("group_key", "group", "string"),
    15: ("headers", "headers", "map<string, string>"),
}
"""For each field number: the name in Go asynq, the name in TaskMessage, and the type."""

UNDECODABLE = "asynq:undecodable"
"""Task type of the replacement for an undecodable message. Its payload is the original bytes."""


class UndecodableMessageError(Exception):
    """The stored message of a task is undecodable or belongs to another task. Not raised to callers."""


_NAMES = tuple((name, attribute) for name, attribute, _ in _FIELDS.values())
_IN_EVERY = frozenset({"type", "payload", "id", "queue", "max_retry", "timeout", "headers"})
_RARE = tuple((name, attribute) for name, attribute in _NAMES if attribute not in _IN_EVERY)
"""The fields that few messages have. A field without a value is not encoded."""
_RARE_VALUES = attrgetter(*[attribute for _, attribute in _RARE])
_NO_VALUES = _RARE_VALUES(TaskMessage(id="", type="", queue=""))
_KEPT = 1024
"""Encoded parts that are kept: tasks of one type and queue differ in their ids and payloads only."""


@cache
def _message_class() -> Any:
    fields = {number: (name, kind) for number, (name, _, kind) in _FIELDS.items()}
    return message_classes("asynq", {"TaskMessage": fields})["TaskMessage"]


def encode(message: TaskMessage) -> bytes:
    """Encode a message with ascending fields and sorted headers.

    Raises:
        ValueError: A value does not fit its field.
    """
    others = (
        _others(message)
        if message.headers or _RARE_VALUES(message) != _NO_VALUES
        else _usual(message.queue, message.max_retry, message.timeout)
    )
    payload, task_id = message.payload, message.id.encode()
    return b"%b%b%b%b\x1a%b%b%b" % (
        _type(message.type),
        b"\x12" if payload else b"",
        _length(len(payload)) if payload else b"",
        payload,
        _length(len(task_id)),
        task_id,
        others,
    )


def _encoded(**fields: Any) -> bytes:
    data: bytes = _message_class()(**fields).SerializeToString(deterministic=True)
    return data


def encode_header(name: str, value: str) -> bytes:
    """Encode one header. Appended to a message, it becomes a header of the message."""
    return _encoded(headers={name: value})


@lru_cache(_KEPT)
def _type(kind: str) -> bytes:
    """The first field of a message."""
    return _encoded(type=kind)


@lru_cache(_KEPT)
def _usual(queue: str, max_retry: int, timeout: int) -> bytes:
    """The fields behind the id, if there are no others."""
    return _encoded(queue=queue, retry=max_retry, timeout=timeout)


def _others(message: TaskMessage) -> bytes:
    """The fields behind the id."""
    encoded = _message_class()(queue=message.queue, retry=message.max_retry, timeout=message.timeout)
    for name, attribute in _RARE:
        if value := getattr(message, attribute):
            setattr(encoded, name, value)
    if message.headers:
        encoded.headers.update(message.headers)
    data: bytes = encoded.SerializeToString(deterministic=True)
    return data


@lru_cache(_KEPT)
def _length(size: int) -> bytes:
    """The length of a text or of bytes, as a varint."""
    return varint(size)


def encode_change(before: TaskMessage, after: TaskMessage) -> bytes:
    """Encode `after` as a replacement for the stored message `before`, in the format of lua/lib/rewrite.lua.

    For a large message only the changed fields are sent, so that settling does not send the payload again.
    """
    if len(after.payload) <= LARGE_BYTES:
        return encode(after)
    differing = {
        name: getattr(after, key) for name, key in _NAMES if getattr(after, key) != getattr(before, key)
    }
    if not all(differing.values()):
        return encode(after)  # a field cannot be reset to its default by appending
    return b"\0" + _encoded(**differing)


def change_size(before: TaskMessage, error: str = "") -> int:
    """Approximate bytes of `encode_change` for a change that adds this error."""
    added = len(error.encode(errors="replace"))
    # In a small message, the history of failures contains the error once more.
    return added if len(before.payload) > LARGE_BYTES else message_size(before) + 2 * added


def decode(data: bytes) -> TaskMessage:
    """Decode a message.

    Raises:
        UndecodableMessageError: The data is not a message.
    """
    try:
        found = _message_class().FromString(data)
    except decode_error() as error:
        raise UndecodableMessageError(str(error)) from error
    return TaskMessage(
        id=found.id,
        type=found.type,
        queue=found.queue,
        payload=found.payload,
        headers=dict(found.headers) if found.headers else {},
        max_retry=found.retry,
        retried=found.retried,
        error=found.error_msg,
        last_failed_at=found.last_failed_at,
        timeout=found.timeout,
        deadline=found.deadline,
        retention=found.retention,
        completed_at=found.completed_at,
        unique_key=found.unique_key,
        group=found.group_key,
    )


def decode_as(queue: str, task_id: str, data: bytes) -> TaskMessage:
    """Decode the message of a task.

    Raises:
        UndecodableMessageError: The data is not a message, or it is the message of another task.
    """
    message = decode(data)
    if (message.queue, message.id) != (queue, task_id):
        raise UndecodableMessageError(f"it is the message of task {message.id!r} of queue {message.queue!r}")
    return message


def replacement(queue: str, task_id: str, data: bytes, why: UndecodableMessageError) -> TaskMessage:
    """Return a decodable message for a task with an undecodable one. Its payload keeps the original bytes."""
    return TaskMessage(
        id=task_id, type=UNDECODABLE, queue=queue, payload=data, max_retry=0, error=f"set aside: {why}"
    )
