"""Compare a value with its decoded copy: the first difference and its path."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import attrs

from asynq.client.codecs.pydantic_models import fields_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 60
_SECRET = (
    "payloads are stored in clear text, so send a reference to the secret, or let a field_serializer of the "
    "class return get_secret_value()"
)


def is_equal(sent: Any, arrived: Any) -> bool:
    """True if the value compares equal to the other; False also if it cannot be compared."""
    try:
        return bool(sent == arrived)
    except Exception:  # noqa: BLE001 - the user's own __eq__
        return False


def difference(sent: Any, arrived: Any, place: str = "$") -> str | None:
    """The first difference between a value and its decoded copy; None if there is none.

    A class without its own equality is compared by its fields, without those that pydantic excludes and
    without private attributes. A tuple that is decoded as a list counts as the same sequence; NaN equals NaN.
    """
    if is_equal(sent, arrived) or _is_same_instant(sent, arrived):
        return None
    if isinstance(sent, (list, tuple)) and isinstance(arrived, (list, tuple)) and len(sent) == len(arrived):
        pairs = zip(sent, arrived, strict=True)
        return _first(difference(*pair, f"{place}[{index}]") for index, pair in enumerate(pairs))
    if isinstance(sent, dict) and isinstance(arrived, dict) and is_equal(sent.keys(), arrived.keys()):
        return _first(difference(sent[key], arrived[key], f"{place}[{key!r}]") for key in sent)
    names = _names(type(sent)) if type(sent) is type(arrived) else None
    if names is not None:
        found = _first(
            difference(getattr(sent, name, None), getattr(arrived, name, None), f"{place}.{name}")
            for name in names
        )
        extra = getattr(sent, "__pydantic_extra__", None), getattr(arrived, "__pydantic_extra__", None)
        return found or difference(*extra, place)
    if not (is_equal(sent, sent) or is_equal(arrived, arrived)):
        return None
    if hasattr(sent, "get_secret_value"):
        return f"the secret at {place} is not written; {_SECRET}"
    return f"{_short(sent)} at {place} arrives as {_short(arrived)}"


def _is_same_instant(sent: Any, arrived: Any) -> bool:
    """True for datetimes of one instant, also where a zone's offset changes: `==` is always False there."""
    if not (isinstance(sent, datetime) and isinstance(arrived, datetime)):
        return False
    ahead, arrived_ahead = sent.utcoffset(), arrived.utcoffset()
    if ahead is None or arrived_ahead is None:
        return False
    return sent.replace(tzinfo=None) - arrived.replace(tzinfo=None) == ahead - arrived_ahead


def _first(found: Iterator[str | None]) -> str | None:
    return next(filter(None, found), None)


def _names(kind: type[Any]) -> tuple[str, ...] | None:
    """The attributes that are stored with an instance; None for a type without declared fields."""
    if fields_of(kind):
        declared = fields_of(kind).items()
        return tuple(name for name, each in declared if not (each.exclude or getattr(each, "exclude_if", 0)))
    if attrs.has(kind):
        return tuple(field.name for field in attrs.fields(kind))
    if is_dataclass(kind):
        return tuple(field.name for field in fields(kind))
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    return names


def _short(value: Any) -> str:
    text = f"{type(value).__name__} {value!r}"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
