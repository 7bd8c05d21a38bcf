"""Canonical JSON values: equal values give equal text, in whatever order dicts and sets were filled.

The keys of dicts are sorted by their text at every level, as Go sorts the keys of maps. Fields of classes
keep the order of their declaration, as Go does for structs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from functools import lru_cache, partial
from operator import itemgetter
from typing import TYPE_CHECKING, Any, get_origin

import attrs

from asynq.client.codecs.pydantic_models import codec_of_class, fields_of, is_pydantic

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Instances = list[tuple[Any, Any]]
    """Instances of classes, each with its written form."""
    Writer = Callable[[Any, Instances | None], Any]

_SCALARS = (str, int, float, type(None))


def canonical(value: Any, found: Instances | None = None) -> Any:
    """Convert the value to None, bool, int, float, str, list and dict in canonical order.

    Adds to `found` the instances of classes that are not within other instances, each with its written form.
    TypeError for a value that JSON cannot express, ValueError for a dict with two keys of the same text.
    """
    if isinstance(value, _SCALARS):
        return value
    if isinstance(value, dict):
        return _sorted_object(value, found)
    if isinstance(value, (list, tuple)):
        return [canonical(item, found) for item in value]
    if isinstance(value, AbstractSet):
        return _sorted_array([canonical(item, found) for item in value])
    kind: Any = type(value)
    write = writer_of(kind)
    if write is None:
        import msgspec

        return msgspec.to_builtins(value, order="deterministic")
    if found is not None and is_open(value):
        return write(value, found)
    written = write(value, None)
    if found is not None:
        found.append((value, written))
    return written


@lru_cache(maxsize=1024)
def writer_of(kind: Any) -> Writer | None:
    """The function that writes instances of a class with declared fields; None for any other type."""
    if is_pydantic(kind):
        dump = codec_of_class(kind).dump
        return lambda value, _: _in_order(value, dump(value))
    if attrs.has(kind):
        return partial(_written_fields, tuple(field.name for field in attrs.fields(kind)))
    if is_dataclass(kind):
        return partial(_written_fields, tuple(field.name for field in fields(kind)))
    return _struct_writer(kind) if hasattr(kind, "__struct_config__") else None


def declared_class(value: Any) -> Any:
    """The class that a handler declares to get this instance, with its type arguments if known."""
    kind = type(value)
    known = getattr(value, "__orig_class__", None) if hasattr(kind, "__parameters__") else None
    return known if get_origin(known) is kind else kind


def is_open(value: Any) -> bool:
    """True for an instance of a generic class whose type arguments are unknown."""
    return not is_pydantic(type(value)) and bool(getattr(declared_class(value), "__parameters__", ()))


def _written_fields(names: tuple[str, ...], value: Any, found: Instances | None) -> dict[str, Any]:
    return {name: canonical(getattr(value, name), found) for name in names}


def _struct_writer(kind: Any) -> Writer:
    """Write a msgspec.Struct in the form that its own options select."""
    import msgspec

    config = kind.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    # Fields with a default come last.
    defaulted = dict(zip(reversed(names), reversed(kind.__struct_defaults__), strict=False))
    omitted = defaulted if config.omit_defaults else {}

    def write(value: Any, found: Instances | None) -> Any:
        held = {written: getattr(value, name) for written, name in names.items()}
        if config.array_like:
            return [*tag.values(), *(canonical(part, found) for part in held.values())]
        return tag | {
            name: canonical(part, found)
            for name, part in held.items()
            if part is not msgspec.UNSET and not _is_default(part, omitted.get(name, msgspec.NODEFAULT))
        }

    return write


def _is_default(part: Any, default: Any) -> bool:
    """True for what msgspec leaves out too: the default itself, and the value of an empty default factory."""
    made = getattr(default, "factory", None)
    if made in (list, dict, set):
        return type(part) is made and not part
    return part is default


def _sorted_object(value: dict[Any, Any], found: Instances | None) -> dict[str, Any]:
    """The dict with its keys as text, sorted."""
    texts = {_text(key): key for key in value}
    if len(texts) < len(value):
        raise ValueError("two keys of a dict have the same text")
    return {text: canonical(value[texts[text]], found) for text in sorted(texts)}


def _text(key: Any) -> str:
    """The key as JSON writes it."""
    if isinstance(key, str):
        return key
    known = canonical(key)
    if isinstance(known, str):
        return known
    if not isinstance(known, _SCALARS):
        raise TypeError(f"a dict has a key of type {type(key).__name__}, which has no text")
    return json.dumps(known, allow_nan=False)


def _sorted_array(items: list[Any]) -> list[Any]:
    """The members of a set, sorted: text and numbers by value, anything else by its JSON text."""
    kinds = set(map(type, items))
    if len(kinds) == 1 and kinds <= {str, int, float}:
        return sorted(items)
    return sorted(items, key=json.dumps)


def _in_order(value: Any, dumped: Any) -> Any:
    """What pydantic dumped, in canonical order: pydantic keeps the order of dicts and sets."""
    if getattr(value, "__pydantic_root_model__", False):
        value = value.root
    if isinstance(dumped, dict):
        names = _attributes(type(value))
        if names is not None:
            keys: list[str] = list(dumped)
            held = [getattr(value, names.get(key, key), None) for key in keys]
            written = dict(zip(keys, _all_in_order(held, dumped.values()), strict=True))
            return _extra_last(written, getattr(value, "__pydantic_extra__", None) or {})
        parts: Collection[Any] = value.values() if isinstance(value, Mapping) else ()
        ordered = zip(dumped, _all_in_order(parts, dumped.values()), strict=True)
        return dict(sorted(ordered, key=itemgetter(0)))
    if isinstance(dumped, list):
        items = _all_in_order(value if isinstance(value, (Sequence, AbstractSet)) else (), dumped)
        return _sorted_array(items) if isinstance(value, AbstractSet) else items
    return dumped


def _extra_last(written: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Extra fields in sorted order after the others: an instance keeps them in the order they were passed."""
    last = {name: written.pop(name) for name in sorted(extra.keys() & written.keys())}
    return written | last


def _all_in_order(values: Collection[Any], dumped: Collection[Any]) -> list[Any]:
    # If a user's serializer changed the number of values, they cannot be matched.
    known = values if len(values) == len(dumped) else [None] * len(dumped)
    return [_in_order(value, item) for value, item in zip(known, dumped, strict=True)]


def _attributes(kind: Any) -> dict[str, str] | None:
    """The attributes of declared fields by the names that pydantic writes; None for any other type."""
    if is_pydantic(kind):
        return {field.serialization_alias or name: name for name, field in fields_of(kind).items()}
    return {field.name: field.name for field in fields(kind)} if is_dataclass(kind) else None
