"""TaskMessage as bytes: Go asynq's protobuf message, field for field."""

from __future__ import annotations

from attrs import evolve
from google.protobuf.message import DecodeError

from asynq.protocol.message import TaskMessage
from asynq_redis.wire.protobuf_classes import message_classes
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
"""Number of each field: its name in Go asynq, its name in TaskMessage, its type."""

UNDECODABLE = "asynq:undecodable"
"""Type of the message that takes the place of one that cannot be decoded; its payload are the bytes."""


class UndecodableMessageError(Exception):
    """What is stored for a task is not a message, or is another task's. Met inside the backend only."""


_TaskMessage = message_classes(
    "asynq", {"TaskMessage": {number: (name, kind) for number, (name, _, kind) in _FIELDS.items()}}
)["TaskMessage"]
_NAMES = tuple((name, attribute) for name, attribute, _ in _FIELDS.values())


def encode(message: TaskMessage) -> bytes:
    """The message as bytes: fields ascending, headers sorted. ValueError when a value does not fit."""
    values = {name: value for name, attribute in _NAMES if (value := getattr(message, attribute))}
    data: bytes = _TaskMessage(**values).SerializeToString(deterministic=True)
    return data


def encode_change(before: TaskMessage, after: TaskMessage) -> bytes:
    """`after` as bytes, to take the place of `before`, which is stored: what lua/lib/rewrite.lua takes.

    For a large message only what differs, so that ending a run does not send its payload once more.
    """
    if len(after.payload) <= LARGE_BYTES:
        return encode(after)
    differing = {
        name: getattr(after, key) for name, key in _NAMES if getattr(after, key) != getattr(before, key)
    }
    if not all(differing.values()):
        return encode(after)  # nothing can be added that means a default
    change: bytes = _TaskMessage(**differing).SerializeToString(deterministic=True)
    return b"\0" + change


def decode(data: bytes) -> TaskMessage:
    """The message these bytes are. UndecodableMessageError when they are none."""
    try:
        found = _TaskMessage.FromString(data)
    except DecodeError as error:
        raise UndecodableMessageError(str(error)) from error
    return TaskMessage(
        id=found.id,
        type=found.type,
        queue=found.queue,
        payload=found.payload,
        headers=dict(found.headers),
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
    """The message of this very task: UndecodableMessageError also when it names another one."""
    message = decode(data)
    if (message.queue, message.id) != (queue, task_id):
        raise UndecodableMessageError(f"it is the message of task {message.id!r} of queue {message.queue!r}")
    return message


def replacement(queue: str, task_id: str, data: bytes, why: UndecodableMessageError) -> TaskMessage:
    """A message that can be decoded, for a task whose own cannot be: nothing of the original is lost."""
    return TaskMessage(
        id=task_id, type=UNDECODABLE, queue=queue, payload=data, max_retry=0, error=f"set aside: {why}"
    )


def failed(message: TaskMessage, error: str, at: int, *, spent: int = 0) -> TaskMessage:
    """The message with its last failure, at a Unix second, and with retries spent."""
    return evolve(message, error=error, last_failed_at=at, retried=message.retried + spent)
