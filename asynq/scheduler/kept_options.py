"""What a changed schedule keeps of the one before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from asynq.protocol.uniqueness import unique_key

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.protocol.message import TaskMessage
    from asynq.protocol.schedules import StoredSchedule

_FIELDS = ("max_retry", "timeout", "deadline", "retention", "group")
"""Options that are fields of a message."""
_LOCKS = ("unique", "debounce", "throttle")


def with_kept(
    fresh: StoredSchedule, old: StoredSchedule, given: Mapping[str, Any], *, has_payload: bool
) -> StoredSchedule:
    """The schedule with what the old one has and `given` does not name.

    Args:
        fresh: The schedule with defaults in place of what was not given.
        old: The schedule before it.
        given: The options that were given.
        has_payload: Whether a payload was given. That of a task of another type is not kept.
    """
    new_payload = has_payload or fresh.message.type != old.message.type
    message = replace(
        old.message,
        type=fresh.message.type,
        queue=fresh.message.queue,
        payload=fresh.message.payload if new_payload else old.message.payload,
        headers={**old.message.headers, **fresh.message.headers},
        **{name: getattr(fresh.message, name) for name in _FIELDS if name in given},
    )
    if "task_id" in given:
        message = replace(message, id=fresh.message.id)
    locked = not given.keys().isdisjoint(_LOCKS)
    by_payload = fresh.unique is not None and "key" not in given and "unique" in given
    if not locked:
        by_payload = old.unique is not None and old.message.unique_key == _payload_key(old.message)
    elif not by_payload:
        message = replace(message, unique_key=fresh.message.unique_key)
    if by_payload:
        message = replace(message, unique_key=_payload_key(message))
    return replace(
        fresh,
        message=message,
        process_in=fresh.process_in if "process_in" in given or "debounce" in given else old.process_in,
        unique=fresh.unique if locked else old.unique,
        on_conflict=fresh.on_conflict if "on_conflict" in given or "task_id" in given else old.on_conflict,
    )


def _payload_key(message: TaskMessage) -> str:
    """The name of a lock that goes by the payload."""
    return unique_key(message.queue, message.type, message.payload or None)
