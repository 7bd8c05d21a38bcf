"""Encode payloads and results to bytes, and decode them to declared types."""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from asynq.client.codecs.canonical import canonical
from asynq.client.codecs.pydantic_models import reason_of
from asynq.errors import PayloadError, ResultError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.client.codecs.canonical import Instances

T = TypeVar("T")

_json_text = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode


def encode_payload(value: object, option: str = "payload", *, verified: bool = True) -> bytes:
    """Encode a value as the bytes that are stored.

    bytes, bytearray and memoryview are stored unchanged, str as UTF-8. Anything else becomes compact JSON:
    None, bool, int, float, str, list, tuple and dict, and instances of attrs classes, dataclasses,
    msgspec.Struct and pydantic models, also nested. Types without a JSON form of their own are written as
    msgspec writes them: datetime, UUID and Decimal as text, bytes as base64, an Enum as its value, a set as a
    sorted list.

    Equal values of the same types have equal payloads, which `unique` requires: the keys of a dict are sorted
    by their text at every level, as Go sorts the keys of a map. Fields of classes keep the order of their
    declaration, as those of a Go struct do.

    Each instance of a class is verified, also in a list or dict: a handler that declares its class (see
    `payload_decoder`) gets an equal instance.

    Args:
        value: the value to encode.
        option: name of the option in error messages.
        verified: False to skip the verification of instances.

    Returns:
        The encoded value.

    Raises:
        TypeError: JSON cannot express the value (NaN and infinities included), or no handler could declare
            the class of an instance.
        ValueError: an instance would be refused or altered when it is decoded, a text is not valid UTF-8
            (lone surrogates), values are nested too deeply or contain themselves, or two keys of a dict have
            the same text.
    """
    if isinstance(value, str):
        return _utf8(value, option)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    found: Instances | None = [] if verified else None
    encoded = _utf8(_to_json(value, option, found), option)
    if found:
        from asynq.client.codecs.round_trip import verify

        for instance, written in found:
            verify(instance, encoded if instance is value else _json_text(written).encode(), option)
    return encoded


def _utf8(text: str, option: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{option} holds text that is not valid UTF-8: {error}") from None


def _to_json(value: object, option: str, found: Instances | None) -> str:
    try:
        return _json_text(canonical(value, found))
    except ValueError as error:
        # JSONEncoder raises ValueError for NaN, canonical for two keys with the same text.
        refusal = TypeError if "JSON compliant" in str(error) else ValueError
        raise refusal(f"{option} cannot be encoded as JSON: {error}") from None
    except RecursionError:
        raise ValueError(f"{option} cannot be encoded as JSON: it is nested too deeply") from None
    except TypeError as error:
        raise TypeError(f"{option} must be bytes, str or a value JSON can express: {error}") from error


def encode_result(answer: object) -> bytes | None:
    """Encode the return value of a handler; None for None. ResultError for a value that cannot be encoded.

    A result is not verified: the work is done, and there is no declared type to decode it to.
    """
    if answer is None:
        return None
    try:
        return encode_payload(answer, "the handler's result", verified=False)
    except (TypeError, ValueError) as error:
        raise ResultError(str(error)) from error


def payload_encoder(kind: Any) -> Callable[[str, object], bytes]:
    """A function from (task type, value) to the payload of a task whose handler declares `kind`.

    It raises TypeError for a value that the handler could not decode or would get altered. TypeError for a
    type that `payload_decoder` refuses.
    """
    decode = _decoder(kind, "payload")

    def encoded(task_type: str, value: object) -> bytes:
        from asynq.client.codecs.comparison import difference

        try:
            payload = encode_payload(value, verified=False)
            changed = difference(value, decode(payload))
        except (TypeError, ValueError) as error:
            raise TypeError(f"task {task_type!r}: {error}") from error
        if changed is not None:
            raise TypeError(f"task {task_type!r}: the handler would get another payload: {changed}")
        return payload

    return encoded


def progress_check(kind: Any) -> Callable[[str, bytes], None] | None:
    """A function of (task type, encoded progress): TypeError if clients cannot decode it to `kind`.

    None if any value will do: for bytes, which are passed as stored, and for no type.
    """
    if kind is bytes or kind is None or kind is NoneType:
        return None
    decode = _decoder(kind, "progress")

    def check(task_type: str, progress: bytes) -> None:
        try:
            decode(progress)
        except ValueError as error:
            raise TypeError(f"task {task_type!r} declares progress={shown_type(kind)}: {error}") from error

    return check


def payload_decoder(kind: type[T]) -> Callable[[str, bytes], T]:
    """A function from (task type, payload) to a value of `kind`. Raises PayloadError.

    `kind` is an attrs class, a dataclass, a msgspec.Struct, a pydantic model or another type that has a form
    in JSON, including containers of these. bytes and str are passed unchanged. Without a payload, the value
    is None if `kind` allows it, else what an empty JSON object decodes to: an instance with all its defaults.

    Decoding is strict: a str is not an int, a missing field without a default is an error, and so is a value
    that a validator or `__post_init__` refuses. Unknown fields are ignored, so that producers may be newer
    than workers. TypeError, with the reason and an alternative, for a type whose values cannot be recovered
    from what is written.
    """
    decode = _decoder(kind, "payload")

    def decoded(task_type: str, payload: bytes) -> T:
        try:
            return decode(payload)
        except ValueError as error:
            raise PayloadError(task_type, str(error)) from error.__cause__

    return decoded


def result_decoder(kind: type[T], option: str = "result") -> Callable[[str, bytes], T]:
    """A function from (task id, result) to a value of `kind`. Raises ResultError; see `payload_decoder`.

    For bytes it returns the result as stored. For None it returns None, also for a task that wrote progress.
    """
    if kind is bytes:
        return lambda _, result: result  # type: ignore[return-value]
    if kind is None or kind is NoneType:
        return lambda _id, _result: None  # type: ignore[return-value]
    decode = _decoder(kind, option)

    def decoded(task_id: str, result: bytes) -> T:
        try:
            return decode(result)
        except ValueError as error:
            raise ResultError(
                f"the {option} of task {task_id!r} cannot be decoded: {error}"
            ) from error.__cause__

    return decoded


def shown_type(kind: Any) -> str:
    """The type for messages, as it was written."""
    return kind.__qualname__ if isinstance(kind, type) and not get_args(kind) else repr(kind)


def _decoder(kind: type[T], option: str) -> Callable[[bytes], T]:
    """A function from bytes to a value of `kind`. Raises ValueError with the failure as its cause."""
    from asynq.client.codecs.type_decoder import type_decoder

    try:
        decode = type_decoder(kind)
    except TypeError as error:
        raise TypeError(f"{option}={shown_type(kind)} cannot be decoded: {error}") from error

    def decoded(data: bytes) -> T:
        try:
            value: T = decode(data)
        except Exception as error:
            reason = "" if data else "it is empty, which is read as an object without fields: "
            raise ValueError(reason + reason_of(error)) from error
        return value

    return decoded
