"""Verify at enqueue that an instance survives the round trip: the handler gets an equal one."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from asynq.client.codecs.canonical import declared_class
from asynq.client.codecs.comparison import difference
from asynq.client.codecs.json_decoder import json_decoder
from asynq.client.codecs.pydantic_models import reason_of

if TYPE_CHECKING:
    from collections.abc import Callable

_INSTEAD = "fix the class or the value, or enqueue a dict, which is not verified"


def verify(value: Any, encoded: bytes, option: str) -> None:
    """Refuse an instance of a class that would not be decoded to an equal one.

    TypeError when no handler could declare its class; ValueError when the class refuses the instance's
    values, or the decoded instance would differ. Both name the option.
    """
    who = f"a handler that declares {type(value).__qualname__}"
    try:
        decode = _decoder_of(declared_class(value))
    except TypeError as error:
        raise TypeError(f"{option}: {who} would be refused: {error}; or enqueue a dict") from error
    try:
        arrived = decode(encoded)
    except Exception as error:
        raise ValueError(f"{option}: {who} could not decode it: {reason_of(error)}; {_INSTEAD}") from error
    changed = difference(value, arrived)
    if changed is not None:
        raise ValueError(f"{option}: {who} would get another: {changed}; {_INSTEAD}")


@lru_cache(maxsize=1024)
def _decoder_of(kind: Any) -> Callable[[bytes], Any]:
    return json_decoder(kind)
