"""Canonical JSON values: equal values give equal text, in whatever order dicts and sets were filled.

The keys of dicts are sorted by their text, at every level, as Go sorts the keys of maps. Fields of classes
keep the order in which the class declares them, as Go keeps it for structs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection

_SCALARS = (str, int, float, type(None))


def canonical(value: Any) -> Any:
    """The value out of None, bool, int, float, str, list and dict, in canonical order.

    TypeError for a value JSON cannot express, ValueError for a dict of which two keys have the same text.
    """
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return _sorted_object(value)
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    if isinstance(value, AbstractSet):
        return _sorted_array([canonical(item) for item in value])
    kind = type(value)
    if is_pydantic(kind):
        from pydantic import TypeAdapter

        return _in_order(value, TypeAdapter(kind).dump_python(value, mode="json", by_alias=True))
    if attrs.has(kind):
        return {field.name: canonical(getattr(value, field.name)) for field in attrs.fields(kind)}
    if is_dataclass(kind):
        return {field.name: canonical(getattr(value, field.name)) for field in fields(kind)}
    import msgspec

    return msgspec.to_builtins(value, order="deterministic")


def is_pydantic(kind: type[Any]) -> bool:
    """True for pydantic's models and dataclasses, without importing pydantic."""
    return hasattr(kind, "__pydantic_validator__")


def _sorted_object(value: dict[Any, Any]) -> dict[str, Any]:
    """The dict with the texts of its keys in order."""
    texts = {_text(key): key for key in value}
    if len(texts) < len(value):
        raise ValueError("two keys of a dict have the same text")
    return {text: canonical(value[texts[text]]) for text in sorted(texts)}


def _text(key: Any) -> str:
    """The key as JSON spells it."""
    if isinstance(key, str):
        return key
    known = canonical(key)
    if isinstance(known, str):
        return known
    if not isinstance(known, _SCALARS):
        raise TypeError(f"a dict has a key of type {type(key).__name__}, which has no text")
    return json.dumps(known, allow_nan=False)


def _sorted_array(items: list[Any]) -> list[Any]:
    """The members of a set in order: text and numbers by value, anything else by its JSON text."""
    kinds = set(map(type, items))
    if len(kinds) == 1 and kinds <= {str, int, float}:
        return sorted(items)
    return sorted(items, key=json.dumps)


def _in_order(value: Any, dumped: Any) -> Any:
    """What pydantic made of the value, in canonical order: pydantic leaves dicts and sets in theirs."""
    if getattr(value, "__pydantic_root_model__", False):
        value = value.root
    if isinstance(dumped, dict):
        names = _attributes(type(value))
        if names is not None:
            keys: list[str] = list(dumped)
            held = [getattr(value, names.get(key, key), None) for key in keys]
            return dict(zip(keys, _all_in_order(held, dumped.values()), strict=True))
        parts: Collection[Any] = value.values() if isinstance(value, Mapping) else ()
        ordered = zip(dumped, _all_in_order(parts, dumped.values()), strict=True)
        return dict(sorted(ordered, key=itemgetter(0)))
    if isinstance(dumped, list):
        items = _all_in_order(value if isinstance(value, (Sequence, AbstractSet)) else (), dumped)
        return _sorted_array(items) if isinstance(value, AbstractSet) else items
    return dumped


def _all_in_order(values: Collection[Any], dumped: Collection[Any]) -> list[Any]:
    # Where a serializer of the user's changed the number, nobody knows what became of which value.
    known = values if len(values) == len(dumped) else [None] * len(dumped)
    return [_in_order(value, item) for value, item in zip(known, dumped, strict=True)]


def _attributes(kind: Any) -> dict[str, str] | None:
    """The attributes of a class's declared fields by the names pydantic writes; None for any other type."""
    if is_pydantic(kind):
        declared: dict[str, Any] = getattr(kind, "__pydantic_fields__", None) or kind.model_fields
        return {field.serialization_alias or name: name for name, field in declared.items()}
    return {field.name: field.name for field in fields(kind)} if is_dataclass(kind) else None
