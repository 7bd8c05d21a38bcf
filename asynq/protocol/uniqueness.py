"""The name of a task's uniqueness lock, which decides which tasks are duplicates."""

from __future__ import annotations

from hashlib import md5


def unique_key(queue: str, task_type: str, payload: bytes | None) -> str:
    """The name of the lock: queue, type and a digest of the payload, in the format of Go asynq.

    A task without a payload (None) and one with an empty payload are different. Headers, group and options
    are not part of the name.
    """
    digest = "" if payload is None else md5(payload, usedforsecurity=False).hexdigest()
    return f"asynq:{{{queue}}}:unique:{task_type}:{digest}"
