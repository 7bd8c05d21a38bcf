"""JSON decoders of declared types: which types msgspec or pydantic decodes, and why others are refused."""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import msgspec
from msgspec import inspect

from asynq.client.codecs.canonical import writer_of
from asynq.client.codecs.pydantic_models import (
    UNRESOLVED,
    ModelCodec,
    check_model,
    codec_of_class,
    is_pydantic,
    parts_of,
    reason_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_KEYS = (
    inspect.AnyType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.DecimalType,
    inspect.EnumType,
    inspect.FloatType,
    inspect.IntType,
    inspect.LiteralType,
    inspect.StrType,
    inspect.TimeDeltaType,
    inspect.TimeType,
    inspect.UUIDType,
)
"""Valid key types of a dict: their values have one text each, from which they can be decoded."""


def json_decoder(kind: Any) -> Callable[[bytes], Any]:
    """A function from a JSON text to a value of a type. It raises what decoding raises.

    pydantic decodes its own classes. msgspec decodes all others and leaves pydantic classes inside them to
    pydantic; a container of these that msgspec does not support, such as a union, is decoded by pydantic as a
    whole. TypeError, with the reason, for a type whose values cannot be written as JSON and read again.
    """
    if is_pydantic(kind):
        check_model(kind)
        return ModelCodec.of(kind).validate
    try:
        return _msgspec_decoder(kind)
    except TypeError:
        if not _is_of_pydantic(kind):
            raise
    _check_unions(kind)
    check_model(kind, of_container=True)
    return ModelCodec.of(kind, of_container=True).validate


def _is_of_pydantic(kind: Any) -> bool:
    """True for pydantic classes and containers of them, if no other class in them declares fields."""
    parts = list(parts_of(kind, within_models=False))
    return any(map(is_pydantic, parts)) and not any(
        writer_of(part) for part in parts if isinstance(part, type) and not is_pydantic(part)
    )


def _check_unions(kind: Any) -> None:
    """TypeError for a union outside of pydantic classes for which pydantic may choose the wrong member."""
    tagged: list[Any] = []
    for part in parts_of(kind, within_models=False):
        if get_origin(part) is Annotated:
            marks = (getattr(mark, "discriminator", None) for mark in part.__metadata__)
            tagged += [part.__origin__] * any(mark is not None for mark in marks)
        members = [member for member in get_args(part) if member is not NoneType]
        if get_origin(part) not in (Union, UnionType) or len(members) < 2 or part in tagged:
            continue
        if any(is_pydantic(inner) for inner in parts_of(part, within_models=False)):
            raise TypeError(
                f"the members of {part} may be taken for one another; give the union a discriminator: "
                'Annotated[..., pydantic.Field(discriminator="...")], or make it a field of a model'
            )
        msgspec.json.Decoder(part)


def _msgspec_decoder(kind: Any) -> Callable[[bytes], Any]:
    try:
        (root,) = inspect.multi_type_info([kind])
        for node in _walk(root):
            _check(node)
        return msgspec.json.Decoder(kind, dec_hook=_decode_model).decode
    except NameError as error:
        raise TypeError(f"{error}; {UNRESOLVED}") from error
    except TypeError as error:
        if "not supported between" in str(error):  # msgspec's inspection sorts the values of a Literal
            raise TypeError("a Literal of several types of values needs msgspec 0.22 or newer") from error
        if "custom type" not in str(error):
            raise
        raise TypeError(f"{error}; make the class that contains it a pydantic class") from error


def _decode_model(kind: Any, value: Any) -> Any:
    """Decode a pydantic class within another class. msgspec adds the path to the error."""
    try:
        return codec_of_class(kind).validate(msgspec.json.encode(value))
    except ValueError as error:
        raise ValueError(reason_of(error)) from error


def _walk(root: inspect.Type) -> Iterator[Any]:
    """The type and all types inside it, except those inside pydantic classes."""
    seen: dict[int, Any] = {}
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen[id(node)] = node
        if isinstance(node, tuple):
            waiting += node
        elif isinstance(node, inspect.Field):
            waiting.append(node.type)
        elif isinstance(node, inspect.Type):
            yield node
            if not is_pydantic(getattr(node, "cls", None)):
                waiting += (getattr(node, name) for name in node.__struct_fields__)


def _check(node: Any) -> None:
    """TypeError for a type that has no JSON form, or whose values cannot be recovered from it."""
    match node:
        case inspect.CustomType(cls=cls) if is_pydantic(cls):
            check_model(cls)
        case inspect.CustomType(cls=cls):
            raise TypeError(f"{cls.__name__} has no form in JSON; declare a type that has one")
        case inspect.RawType() | inspect.ExtType():
            raise TypeError("msgspec's Raw and Ext have no form of their own in JSON; declare what they hold")
        case inspect.DataclassType(cls=cls) if is_pydantic(cls):
            raise TypeError(
                f"{cls.__name__} is a pydantic dataclass within a class that pydantic does not decode, and "
                "its validators would not run; make it a BaseModel, or the outer class a pydantic one"
            )
        case inspect.DictType(key_type=key) if not isinstance(key, _KEYS) or _is_mixed(key):
            raise TypeError("the keys of a dict are text in JSON; declare them as str, or as int, UUID, ...")


def _is_mixed(key: Any) -> bool:
    """True for literals of several types, such as 1 and "1", whose texts may be equal."""
    return isinstance(key, inspect.LiteralType) and len(set(map(type, key.values))) > 1
