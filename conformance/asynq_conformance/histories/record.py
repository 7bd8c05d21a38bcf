"""The record of a run: one event a line, each process its own file, merged by the clock all of them share.

A line is `{"p": process, "c": call, "t": nanoseconds, "e": kind, "op": name, "v": value}`. The time is
CLOCK_MONOTONIC, which the processes of one machine share. A call begins with `invoke` and ends with `ok`
(with its answer), `fail` (nothing was changed) or `info` (whether it took effect is not known); a process
that was killed leaves calls without an end. A `note` belongs to no call: what was done to the processes or
to the servers meanwhile.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from enum import Enum, StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from asynq.errors import AsynqError
from asynq_conformance.value_fields import fields_of, has_fields

if TYPE_CHECKING:
    from pathlib import Path


class EventKind(StrEnum):
    """What an event tells."""

    INVOKE = "invoke"
    OK = "ok"
    FAIL = "fail"
    INFO = "info"
    NOTE = "note"


@frozen
class HistoryEvent:
    """One line of a record."""

    process: str
    call: int
    """Number of the call within its process; -1 for a note."""
    at: int
    """Nanoseconds of CLOCK_MONOTONIC."""
    kind: EventKind
    op: str
    """Name of the operation's class, or of what a note is about."""
    value: Any
    """The operation, its answer or its error; the facts of a note."""


class RecordError(ValueError):
    """This is no record: a line of it cannot be read."""


_TAG: Final = "$"
_HOME: Final = (
    "asynq.task_state",
    "asynq.errors",
    *(f"asynq.protocol.{module}" for module in ("ops", "message", "doctor", "presence", "history")),
)
"""Modules whose classes and enumerations a record may name."""


def _known_classes() -> dict[str, type]:
    return {
        name: value
        for module in map(import_module, _HOME)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and (has_fields(value) or issubclass(value, (Enum, AsynqError)))
        and value.__module__.startswith("asynq.")
    }


_CLASSES: Final = _known_classes()
_DATES: Final[Mapping[str, type[date]]] = {"date": date, "datetime": datetime}


def encode(value: Any) -> Any:
    """The value as JSON can hold it. TypeError for one that no operation takes or gives.

    An error of a backend's own becomes a plain AsynqError with its words.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, bytes):
        return {_TAG: "bytes", "v": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Enum):
        return {_TAG: type(value).__name__, "v": value.value}
    if isinstance(value, date):
        return {_TAG: type(value).__name__, "v": value.isoformat()}
    if isinstance(value, Mapping):
        return {_TAG: "map", "v": [[encode(key), encode(item)] for key, item in value.items()]}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [encode(item) for item in value]
    return _encode_fields(value)


def _encode_fields(value: Any) -> Any:
    cls = type(value)
    if _CLASSES.get(cls.__name__) is not cls:
        if isinstance(value, AsynqError):
            return {_TAG: AsynqError.__name__, "args": [f"{cls.__name__}: {value}"]}
        raise TypeError(f"a record cannot hold {value!r}")
    if not has_fields(cls):
        return {_TAG: cls.__name__, "args": encode(value.args)}
    fields = {_TAG: cls.__name__}
    for name, default in fields_of(cls).items():
        item = getattr(value, name)
        if type(item) is not type(default) or item != default:
            fields[name] = encode(item)
    return fields


def decode(value: Any) -> Any:
    """The value that was encoded; sequences become tuples. RecordError for what nobody encoded."""
    if isinstance(value, list):
        return tuple(map(decode, value))
    if not isinstance(value, dict):
        return value
    name = value.get(_TAG)
    if name == "bytes":
        return base64.b64decode(value["v"])
    if name == "map":
        return {decode(key): decode(item) for key, item in value["v"]}
    if isinstance(name, str) and name in _DATES:
        return _DATES[name].fromisoformat(value["v"])
    if name not in _CLASSES:
        raise RecordError(f"a record names {name!r}, which this version does not know")
    cls = _CLASSES[name]
    if issubclass(cls, Enum):
        return cls(value["v"])
    if not has_fields(cls):
        return cls(*decode(value.get("args", [])))
    return cls(**{field: decode(item) for field, item in value.items() if field != _TAG})


def to_line(event: HistoryEvent) -> bytes:
    """The event as a line."""
    fields = {
        "p": event.process,
        "c": event.call,
        "t": event.at,
        "e": event.kind.value,
        "op": event.op,
        "v": encode(event.value),
    }
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


def from_line(line: bytes) -> HistoryEvent:
    """The event a line holds. RecordError when it holds none."""
    try:
        found = json.loads(line)
        return HistoryEvent(
            found["p"], found["c"], found["t"], EventKind(found["e"]), found["op"], decode(found["v"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"not an event: {line[:200]!r}: {error}") from error


def read(path: Path) -> Iterator[HistoryEvent]:
    """The events of a file, compressed if its name ends in .gz.

    A last line without its end is left out: whoever wrote it was killed.
    """
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
        for line in lines:
            if line.endswith(b"\n"):
                yield from_line(line)


def write(path: Path, events: Iterable[HistoryEvent]) -> None:
    """Write the events to a file, compressed if its name ends in .gz."""
    with gzip.open(path, "wb", compresslevel=3) if path.suffix == ".gz" else path.open("wb") as lines:
        lines.writelines(map(to_line, events))


def merge(parts: Iterable[Path], into: Path) -> int:
    """Merge the files of several processes by time; how many events there are."""
    lines: list[tuple[int, bytes]] = []
    for part in parts:
        with part.open("rb") as found:
            lines += [(from_time(line), line) for line in found if line.endswith(b"\n")]
    lines.sort(key=lambda pair: pair[0])
    with gzip.open(into, "wb", compresslevel=3) as merged:
        merged.writelines(line for _, line in lines)
    return len(lines)


def from_time(line: bytes) -> int:
    """The time of a line."""
    try:
        return int(json.loads(line)["t"])
    except (ValueError, KeyError, TypeError) as error:
        raise RecordError(f"not an event: {line[:200]!r}") from error
