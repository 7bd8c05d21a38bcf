"""Canonical JSON values: equal values give equal text, in whatever order dicts and sets were filled.

The keys of dicts are sorted by their text, at every level, as Go sorts the keys of maps. Fields of classes
keep the order in which the class declares them, as Go keeps it for structs.
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
    """Instances of classes, and what they are written as."""
    Writer = Callable[[Any, Instances | None], Any]

_SCALARS = (str, int, float, type(None))


def canonical(value: Any, found: Instances | None = None) -> Any:
    """The value out of None, bool, int, float, str, list and dict, in canonical order.

    To `found` it adds the instances of classes that are not within others, each with what it is written as.
    TypeError for a value JSON cannot express, ValueError for a dict of which two keys have the same text.
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
    """The function that writes instances of a class that declares its fields; None for any other type."""
    if is_pydantic(kind):
        dump = codec_of_class(kind).dump
        return lambda value, _: _in_order(value, dump(value))
    if attrs.has(kind):
        return partial(_written_fields, tuple(field.name for field in attrs.fields(kind)))
    if is_dataclass(kind):
        return partial(_written_fields, tuple(field.name for field in fields(kind)))
    return _struct_writer(kind) if hasattr(kind, "__struct_config__") else None


def declared_class(value: Any) -> Any:
    """The class a handler declares to be given such an instance, with the arguments a generic one tells."""
    kind = type(value)
    told = getattr(value, "__orig_class__", None) if hasattr(kind, "__parameters__") else None
    return told if get_origin(told) is kind else kind


def is_open(value: Any) -> bool:
    """True for an instance of a generic class that does not tell what its parameters stand for."""
    return not is_pydantic(type(value)) and bool(getattr(declared_class(value), "__parameters__", ()))


def _written_fields(names: tuple[str, ...], value: Any, found: Instances | None) -> dict[str, Any]:
    return {name: canonical(getattr(value, name), found) for name in names}


def _struct_writer(kind: Any) -> Writer:
    """Writes a msgspec.Struct in the form that its own options ask for."""
    import msgspec

    config = kind.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    names = dict(zip(kind.__struct_encode_fields__, kind.__struct_fields__, strict=True))
    # The last fields are those with a default.
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
    """True for what msgspec leaves out, too: the default itself, and what an empty default makes."""
    made = getattr(default, "factory", None)
    if made in (list, dict, set):
        return type(part) is made and not part
    return part is default


def _sorted_object(value: dict[Any, Any], found: Instances | None) -> dict[str, Any]:
    """The dict with the texts of its keys in order."""
    texts = {_text(key): key for key in value}
    if len(texts) < len(value):
        raise ValueError("two keys of a dict have the same text")
    return {text: canonical(value[texts[text]], found) for text in sorted(texts)}


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
    """Extra fields are in the order in which the instance was given them: they follow the others, sorted."""
    last = {name: written.pop(name) for name in sorted(extra.keys() & written.keys())}
    return written | last


def _all_in_order(values: Collection[Any], dumped: Collection[Any]) -> list[Any]:
    # Where a serializer of the user's changed the number, nobody knows what became of which value.
    known = values if len(values) == len(dumped) else [None] * len(dumped)
    return [_in_order(value, item) for value, item in zip(known, dumped, strict=True)]


def _attributes(kind: Any) -> dict[str, str] | None:
    """The attributes of a class's declared fields by the names pydantic writes; None for any other type."""
    if is_pydantic(kind):
        return {field.serialization_alias or name: name for name, field in fields_of(kind).items()}
    return {field.name: field.name for field in fields(kind)} if is_dataclass(kind) else None
