"""The fields of the values of the broker protocol and of its errors, with their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from msgspec import NODEFAULT, Struct

if TYPE_CHECKING:
    from collections.abc import Mapping

_FIELDS: dict[type, Mapping[str, Any]] = {}


def has_fields(kind: type) -> bool:
    """True for the class of a value of the protocol, and for the class of an error."""
    return issubclass(kind, Struct) or attrs.has(kind)


def fields_of(kind: type) -> Mapping[str, Any]:
    """The names of the fields, in the order of their declaration, with their defaults.

    A field that must be given has the default NODEFAULT.
    """
    if kind not in _FIELDS:
        _FIELDS[kind] = _found_fields(kind)
    return _FIELDS[kind]


def _found_fields(kind: Any) -> Mapping[str, Any]:
    if not issubclass(kind, Struct):
        return {field.name: _attrs_default(field.default) for field in attrs.fields(kind)}
    names, defaults = kind.__struct_fields__, kind.__struct_defaults__
    required = (NODEFAULT,) * (len(names) - len(defaults))
    return dict(zip(names, (*required, *map(_struct_default, defaults)), strict=True))


def _struct_default(default: Any) -> Any:
    return default.factory() if hasattr(default, "factory") else default


def _attrs_default(default: Any) -> Any:
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
        return default.factory()
    return NODEFAULT if default is attrs.NOTHING else default
