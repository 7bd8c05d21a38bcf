"""Payloads: values to bytes on the way in, bytes to a declared type on the way out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from asynq.canonical import canonical, is_pydantic
from asynq.errors import PayloadError, ResultError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def encode_payload(value: object, option: str = "payload") -> bytes:
    """The bytes a value is stored as.

    bytes, bytearray and memoryview are taken as they are, str as UTF-8; anything else becomes compact JSON:
    None, bool, int, float, str, list, tuple and dict, and instances of attrs classes, dataclasses,
    msgspec.Struct and pydantic models, also inside those. What JSON has no word for is written as msgspec
    does, in a class and in a dict: datetime, UUID, Decimal as text, bytes as base64, an Enum as its value, a
    set as a sorted list.

    Equal values of the same types have equal payloads, as `unique` needs it: the keys of a dict are sorted by
    their text at every level, as Go sorts the keys of a map. Fields of classes keep the order of their
    declaration, as those of a Go struct do.

    TypeError, naming the option, for a value JSON cannot express (NaN and infinities too); ValueError for
    text that UTF-8 cannot carry (lone surrogates), for values nested too deeply or in themselves, and for a
    dict of which two keys have the same text.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    text = value if isinstance(value, str) else _to_json(value, option)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{option} holds text that is not valid UTF-8: {error}") from None


def _to_json(value: object, option: str) -> str:
    try:
        plain = canonical(value)
        return json.dumps(plain, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except ValueError as error:
        # json.dumps raises ValueError for NaN, canonical for two keys of the same text.
        refusal = TypeError if "JSON compliant" in str(error) else ValueError
        raise refusal(f"{option} cannot be encoded as JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{option} cannot be encoded as JSON: it is nested too deeply") from None
    except TypeError as error:
        raise TypeError(f"{option} must be bytes, str or a value JSON can express: {error}") from error


def encode_result(answer: object) -> bytes | None:
    """What a handler returned as its task's result, None for nothing. ResultError for what cannot be one."""
    if answer is None:
        return None
    try:
        return encode_payload(answer, "the handler's result")
    except (TypeError, ValueError) as error:
        raise ResultError(str(error)) from error


def payload_decoder(kind: type[T]) -> Callable[[str, bytes], T]:
    """A function from (task type, payload) to an instance of `kind`, raising PayloadError.

    `kind` is an attrs class, a dataclass, a msgspec.Struct or a pydantic model (pydantic decodes its own);
    also list[...] and dict[str, ...] of those. Decoding is strict: a str is no int, a missing field without
    a default is an error, and so is what validators and `__post_init__` refuse; unknown fields are ignored,
    so that producers may be newer than workers. TypeError when instances of `kind` cannot be decoded.
    """
    decode = _pydantic_decode(kind) if is_pydantic(kind) else _msgspec_decode(kind)

    def decoded(task_type: str, payload: bytes) -> T:
        try:
            value: T = decode(payload)
        except Exception as error:
            raise PayloadError(task_type, str(error)) from error
        return value

    return decoded


def _msgspec_decode(kind: type[T]) -> Callable[[bytes], T]:
    import msgspec

    try:
        (known,) = msgspec.inspect.multi_type_info([kind])
    except (TypeError, NameError) as error:
        raise TypeError(f"payload= names a type that cannot be decoded from JSON: {error}") from error
    if isinstance(known, msgspec.inspect.CustomType):
        raise TypeError(f"payload= must be an attrs class, dataclass, Struct or pydantic model, not {kind!r}")
    return msgspec.json.Decoder(kind).decode


def _pydantic_decode(kind: type[T]) -> Callable[[bytes], T]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind).validate_json
