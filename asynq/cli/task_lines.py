"""Tasks as JSON lines."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from asynq.client.task import Task
from asynq.durations import parse_duration
from asynq.instants import duration_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

BATCH = 1000
"""Tasks that are enqueued together."""
_DURATIONS = {"process_in", "timeout", "retention", "unique", "debounce", "throttle"}
_INSTANTS = {"process_at", "deadline"}
_PLAIN = {
    "queue",
    "task_id",
    "max_retry",
    "group",
    "sequence",
    "unique_until",
    "keep_unique",
    "key",
    "on_conflict",
}


class BadLineError(ValueError):
    """A line that is not a task."""


def batches(
    lines: Iterable[bytes], options: dict[str, Any], headers: dict[str, str]
) -> Iterator[list[tuple[int, Task[Any, Any]]]]:
    """Read tasks with the numbers of their lines, some at a time. Empty lines are skipped.

    Raises:
        BadLineError: After the tasks before that line.
    """
    batch: list[tuple[int, Task[Any, Any]]] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            batch.append((number, task_of(line, options, headers)))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            if batch:
                yield batch
            raise BadLineError(f"line {number}{_reason(error)}") from None
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _reason(error: Exception) -> str:
    """What is wrong with a line."""
    if isinstance(error, json.JSONDecodeError):
        return f" is not JSON: {error.msg} at character {error.pos + 1}"
    if isinstance(error, UnicodeDecodeError):
        return " is not JSON: it is not UTF-8"
    return f": {error}"


def task_of(line: bytes, options: dict[str, Any], headers: dict[str, str]) -> Task[Any, Any]:
    """The task of one line; `options` and `headers` apply where the line has none."""
    value = json.loads(line.rstrip())
    if not isinstance(value, dict):
        raise TypeError("a task is a JSON object")
    task_type = value.pop("type", None)
    if task_type is None:
        raise ValueError('"type" is missing')
    payload = _payload(value)
    own_headers = value.pop("headers", None) or {}
    if not isinstance(own_headers, dict):
        raise TypeError('"headers" must be an object')
    given = {name: _option(name, each) for name, each in value.items() if each is not None}
    for name, other in (("process_in", "process_at"), ("process_at", "process_in")):
        if name in given:
            options = {key: each for key, each in options.items() if key != other}
    return Task(task_type, payload, headers={**headers, **own_headers}, **{**options, **given})


def _payload(value: dict[str, Any]) -> object:
    encoded = value.pop("payload_base64", None)
    payload = value.pop("payload", None)
    if encoded is None:
        return payload
    if payload is not None:
        raise ValueError('give "payload" or "payload_base64", not both')
    return base64.b64decode(encoded, validate=True)


def _option(name: str, value: object) -> object:
    """The value of an option. ValueError for an unknown one, or one that cannot be read."""
    read = _reader(name)
    try:
        return read(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f'"{name}": {error}') from None


def _reader(name: str) -> Callable[[Any], object]:
    if name in _DURATIONS:
        return lambda value: duration_of(round(value * 1000)) if _number(value) else parse_duration(value)
    if name in _INSTANTS:
        return datetime.fromisoformat
    if name in _PLAIN:
        return lambda value: value
    known = ", ".join(
        sorted({"type", "payload", "payload_base64", "headers"} | _DURATIONS | _INSTANTS | _PLAIN)
    )
    raise ValueError(f"{name!r} is not known. Known: {known}")


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
