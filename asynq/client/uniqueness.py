"""The name of a uniqueness lock: what makes two tasks the same."""

from __future__ import annotations

from hashlib import md5


def unique_key(queue: str, task_type: str, payload: bytes | None) -> str:
    """The lock's name: queue, type and a digest of the payload, as Go asynq forms it.

    No payload (None) and an empty one are different tasks. Headers, group and options do not count.
    """
    digest = "" if payload is None else md5(payload, usedforsecurity=False).hexdigest()
    return f"asynq:{{{queue}}}:unique:{task_type}:{digest}"
