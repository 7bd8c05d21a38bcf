"""The name of a task's uniqueness lock, which decides which tasks are duplicates."""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage


def unique_key(queue: str, task_type: str, payload: bytes | None) -> str:
    """The name of the lock: queue, type and a digest of the payload, in the format of Go asynq.

    A task without a payload (None) and one with an empty payload are different. Headers, group and options
    are not part of the name.
    """
    digest = "" if payload is None else md5(payload, usedforsecurity=False).hexdigest()
    return f"asynq:{{{queue}}}:unique:{task_type}:{digest}"


def named_key(queue: str, task_type: str, kind: str, key: str) -> str:
    """The name of a lock of this kind that goes by a key of the user's instead of the payload."""
    return f"{unique_key(queue, task_type, None)}{kind}:{key}"


def key_with_payload(message: TaskMessage, payload: bytes) -> str:
    """The name of the task's lock once it has this payload; "" if it has none."""
    prefix = unique_key(message.queue, message.type, None)
    if not message.unique_key or ":" in message.unique_key.removeprefix(prefix):
        return message.unique_key
    return unique_key(message.queue, message.type, payload)
