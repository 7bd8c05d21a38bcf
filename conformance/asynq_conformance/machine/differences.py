"""Differences between two answers, except for those that the contract leaves to a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen
from msgspec.structs import replace

from asynq.errors import AsynqError
from asynq.protocol.message import Delivery, LostLease, QueueStats, StoredTask, TaskMessage
from asynq.protocol.ops import Enqueued, Examined, LostLeases
from asynq.task_state import TaskState
from asynq_conformance.value_fields import fields_of, has_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_conformance.model.snapshot import Snapshot

NOTHING = "nothing"


@frozen
class Difference:
    """One place where the actual value differs from the expected one."""

    path: str
    expected: Any
    actual: Any

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected!r}, got {self.actual!r}"


def differ(expected: Any, actual: Any, *, copy: bool = False) -> list[Difference]:
    """Differences between an answer and the model's. For the answer to a copy, only its kind is compared."""
    if expected == actual and type(expected) is type(actual):
        return []
    if copy and isinstance(expected, Enqueued) and isinstance(actual, Enqueued):
        return []
    if isinstance(expected, tuple) and expected and isinstance(expected[0], Delivery):
        return list(_unordered(expected, actual)) if copy else list(_deliveries(expected, actual))
    return list(_differ("answer", expected, actual))


def differ_in_state(expected: Snapshot, actual: Snapshot) -> list[Difference]:
    """Differences between a snapshot of the broker and one of the model."""
    if expected == actual:
        return []
    parts = [*_differ("queues", expected.listed, actual.listed)]
    for name in ("stats", "groups", "tasks"):
        parts += _differ(name, getattr(expected, name), getattr(actual, name))
    return parts


# --- piece by piece -------------------------------------------------------------------------------------


def _differ(path: str, expected: Any, actual: Any) -> Iterator[Difference]:
    if type(expected) is type(actual) and expected == actual:
        return
    if isinstance(expected, AsynqError) and type(expected) is type(actual):
        yield from _errors(path, expected, actual)
    elif isinstance(expected, Mapping) and isinstance(actual, Mapping):
        for key in sorted({*expected, *actual}, key=repr):
            at = f"{path}[{_name(key)}]"
            yield from _differ(at, expected.get(key, NOTHING), actual.get(key, NOTHING))
    elif isinstance(expected, tuple) and isinstance(actual, tuple):
        yield from _sequences(path, expected, actual)
    elif has_fields(type(expected)) and type(expected) is type(actual):
        yield from _values(path, expected, actual)
    else:
        yield Difference(path, expected, actual)


def _name(key: Any) -> str:
    if isinstance(key, tuple) and isinstance(key[1], tuple):
        return f"{key[0]}, {' '.join(filter(None, key[1]))}"
    return str(key)


def _sequences(path: str, expected: tuple[Any, ...], actual: tuple[Any, ...]) -> Iterator[Difference]:
    if len(expected) != len(actual) or _ids(expected) != _ids(actual):
        yield Difference(path, _ids(expected), _ids(actual))
        return
    for place, (one, other) in enumerate(zip(expected, actual, strict=True)):
        yield from _differ(f"{path}[{place}]", one, other)


def _ids(values: tuple[Any, ...]) -> list[Any]:
    """Ids of the tasks if the values have ids; otherwise labels that reveal nothing about the values."""
    ids: list[Any] = []
    for value in values:
        message = value if isinstance(value, TaskMessage) else getattr(value, "message", None)
        ids.append(message.id if isinstance(message, TaskMessage) else getattr(value, "id", value))
    return ids if any(isinstance(one, str) for one in ids) else [None] * len(values)


def _values(path: str, expected: Any, actual: Any) -> Iterator[Difference]:
    if isinstance(expected, TaskMessage):
        actual = _as_free_as(expected, actual)
    elif isinstance(expected, StoredTask | Delivery | LostLease):
        yield from _differ(f"{path}.message", expected.message, _of_no_group(expected, actual))
        actual = replace(actual, message=expected.message)
        if isinstance(expected, Delivery) and not expected.pending_since:
            # A backend may tell since when a task was pending although the call did not ask.
            actual = replace(actual, pending_since=0)
        if isinstance(actual, LostLease):
            actual = replace(actual, observed=getattr(expected, "observed", ""))
    elif isinstance(expected, QueueStats):
        actual = replace(actual, latency=expected.latency)  # its invariant defines the allowed values
    elif isinstance(expected, LostLeases):
        actual = replace(actual, next_expiry=_as_late_as(expected.next_expiry, actual.next_expiry))
    elif isinstance(expected, Examined):
        actual = replace(actual, cursor=expected.cursor)
    for name in fields_of(type(expected)):
        yield from _differ(f"{path}.{name}", getattr(expected, name), getattr(actual, name))


def _as_late_as(expected: int | None, actual: int | None) -> int | None:
    """The expected instant, unless the actual one is later. A backend may name an earlier one, or none."""
    return expected if expected is None or actual is None or actual <= expected else actual


def _as_free_as(expected: TaskMessage, actual: TaskMessage) -> TaskMessage:
    """The actual message, with the expected value where its own is equivalent, as with rounded seconds."""
    free: dict[str, Any] = {}
    for name in ("last_failed_at", "completed_at"):
        if getattr(actual, name) - getattr(expected, name) in (0, 1):
            free[name] = getattr(expected, name)
    return replace(actual, **free)


def _of_no_group(
    expected: StoredTask | Delivery | LostLease, actual: StoredTask | Delivery | LostLease
) -> TaskMessage:
    """The message of a task that left its group manually may or may not still name the group."""
    message = actual.message
    waits = isinstance(expected, StoredTask) and expected.state in (
        TaskState.AGGREGATING,
        TaskState.SCHEDULED,
    )
    return message if waits or message.group else replace(message, group=expected.message.group)


_MAY_BE_UNKNOWN = {"task_id": "", "state": None}


def _errors(path: str, expected: AsynqError, actual: AsynqError) -> Iterator[Difference]:
    for name in fields_of(type(expected)):
        one, other = getattr(expected, name), getattr(actual, name)
        unknown = name in _MAY_BE_UNKNOWN and other == _MAY_BE_UNKNOWN[name]
        required = type(expected).__name__ not in ("DuplicateTaskError", "TaskIDConflictError")
        if one != other and (required or not unknown):
            yield Difference(f"{path} {type(expected).__name__}.{name}", one, other)


def _deliveries(expected: tuple[Delivery, ...], actual: Any) -> Iterator[Difference]:
    """Tasks of one queue are delivered in its order; tasks of several queues in any order."""
    if not isinstance(actual, tuple):
        yield Difference("answer", expected, actual)
        return
    for queue in sorted({delivery.message.queue for delivery in (*expected, *actual)}):
        one, other = (
            tuple(each for each in answer if each.message.queue == queue) for answer in (expected, actual)
        )
        yield from _differ(f"answer from {queue}", one, other)


def _unordered(expected: tuple[Delivery, ...], actual: Any) -> Iterator[Difference]:
    one, other = (
        {each.lease: replace(each, pending_since=0) for each in answer} for answer in (expected, actual)
    )
    yield from _differ("answer", one, other)
