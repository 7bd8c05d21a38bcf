"""Values as JSON: the one schema of all commands."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import Enum
from typing import Any

import attrs
import msgspec

_BYTES = {"payload", "result"}
"""Names of bytes that may be missing."""


def plain(value: object) -> Any:
    """A value as JSON has it.

    An object becomes an object with the names of its attributes. Instants are ISO 8601 in UTC, durations are
    seconds. Bytes are a text if they are UTF-8, else null; beside each of them, `..._base64` is null for a
    text and has the bytes otherwise.
    """
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return _object(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(item) for item in value]
    fields = _fields(value)
    return value if fields is None else _object(fields)


def _fields(value: object) -> dict[str, object] | None:
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    kind = type(value)
    if attrs.has(kind):
        names = [field.name for field in attrs.fields(kind) if field.repr]
        return {name: getattr(value, name) for name in names}
    return None


def _object(fields: Mapping[Any, object]) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    for key, value in fields.items():
        name = str(key)
        if isinstance(value, bytes) or name in _BYTES:
            data = value if isinstance(value, bytes) else b""
            text = text_of(data)
            shown[name] = None if value is None else text
            shown[f"{name}_base64"] = base64.b64encode(data).decode() if text is None else None
        else:
            shown[name] = plain(value)
    return shown


def text_of(data: bytes) -> str | None:
    """Bytes as a text; None if they are not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
