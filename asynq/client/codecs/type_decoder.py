"""Decoder of a declared payload or result type: text and bytes unchanged, other types from JSON."""

from __future__ import annotations

from enum import EnumType
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from asynq.client.codecs.json_decoder import json_decoder

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES = (bytes, bytearray, memoryview)
_AMBIGUOUS = (
    "a str or bytes is stored unchanged, not as JSON, and cannot be distinguished from another type; declare "
    "it alone, put it into a field of a class, or declare no type and read the bytes"
)


def type_decoder(kind: Any) -> Callable[[bytes], Any]:
    """A function from a payload to a value of a type. It raises what decoding raises.

    TypeError, with the reason, for a type whose values cannot be recovered from their payloads.
    """
    members = _members(kind)
    texts = [_is_text(member) for member in members]
    if len(members) == 1 and members[0] in _BYTES:
        return lambda payload: msgspec.convert(members[0](payload), kind)
    if len(members) == 1 and texts[0]:
        return lambda payload: msgspec.convert(payload.decode(), kind)
    if any(texts) or any(member in (Any, object, *_BYTES) for member in members):
        raise TypeError(_AMBIGUOUS)
    decode = json_decoder(kind)
    if any(member in (None, NoneType) for member in members):
        return lambda payload: decode(payload) if payload else None
    return lambda payload: decode(payload or b"{}")


def _members(kind: Any) -> list[Any]:
    """The types that a value may have: the members of a union, without aliases and annotations."""
    if get_origin(kind) is Annotated:
        return _members(get_args(kind)[0])
    for named in ("__supertype__", "__value__"):  # NewType and `type X = ...`
        if hasattr(kind, named):
            return _members(getattr(kind, named))
    if get_origin(kind) in (Union, UnionType):
        return [member for each in get_args(kind) for member in _members(each)]
    if get_origin(kind) is Literal:
        return list({type(value): None for value in get_args(kind)})
    return [Any if isinstance(kind, TypeVar) else kind]


def _is_text(member: Any) -> bool:
    """True for str and enums of str, which are sent unchanged."""
    return member is str or (isinstance(member, EnumType) and issubclass(member, str))
