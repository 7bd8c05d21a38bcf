"""Errors as answers of the API: a status, and JSON with a code, a sentence and the facts of the error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct, field

from asynq.errors import (
    AsynqError,
    BrokerFullError,
    BrokerRefusedError,
    BrokerUnavailable,
    DuplicateTaskError,
    EntryNotFoundError,
    NotReplicatedError,
    QueueNotEmptyError,
    QueueNotFoundError,
    TaskIDConflictError,
    TaskNotFoundError,
    TaskStateError,
    TooLargeError,
    UnsupportedOperationError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

_STATUS: dict[type[Exception], int] = {
    QueueNotFoundError: 404,
    TaskNotFoundError: 404,
    EntryNotFoundError: 404,
    TaskStateError: 409,
    QueueNotEmptyError: 409,
    DuplicateTaskError: 409,
    TaskIDConflictError: 409,
    TooLargeError: 413,
    UnsupportedOperationError: 501,
    BrokerRefusedError: 502,
    BrokerUnavailable: 503,
    NotReplicatedError: 503,
    BrokerFullError: 507,
}
_HEADERS = {503: {"Retry-After": "5"}}
_MAX_MESSAGE = 2_000


class ErrorFacts(Struct, kw_only=True):
    """What went wrong."""

    code: str
    """Names the kind of the error, such as "queue_not_found"."""
    message: str
    """A sentence for people."""
    facts: dict[str, Any] = field(default_factory=dict)
    """The queue, the task and what else the error is about."""


class ErrorAnswer(Struct, kw_only=True):
    """Answer to a request that failed."""

    error: ErrorFacts


class RequestError(Exception):
    """A request that cannot be answered as it is.

    Args:
        status: Status of the answer.
        code: Names the kind of the error.
        message: A sentence for people.
        headers: Further headers of the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.headers = dict(headers or {})


def converted(values: Mapping[str, Any], shape: type[T]) -> T:
    """The values of a form or of an address, as the shape. RequestError if they do not fit it."""
    try:
        return msgspec.convert(values, shape, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise RequestError(400, "invalid_request", str(error)) from None


def error_body(code: str, message: str, facts: Mapping[str, Any] | None = None) -> bytes:
    """The JSON of an error."""
    error = ErrorFacts(code=code, message=message[:_MAX_MESSAGE], facts=dict(facts or {}))
    return msgspec.json.encode(ErrorAnswer(error=error), enc_hook=str)


def described(error: Exception) -> tuple[int, str, str, dict[str, Any], dict[str, str]]:
    """Status, code, message, facts and headers of an error. Other errors are raised again."""
    if isinstance(error, RequestError):
        return error.status, error.code, str(error), {}, error.headers
    if isinstance(error, AsynqError):
        other = 400 if isinstance(error, ValueError) else 500
        status = next((_STATUS[each] for each in type(error).__mro__ if each in _STATUS), other)
        names = [each.name for each in getattr(type(error), "__attrs_attrs__", ())]
        facts = {name: getattr(error, name) for name in names}
        return status, code_of(error), str(error), facts, _HEADERS.get(status, {})
    if isinstance(error, ValueError):
        return 400, "invalid_request", str(error), {}, {}
    raise error


def code_of(error: AsynqError) -> str:
    """The code of an error of the library: "queue_not_found" of a QueueNotFoundError."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*", type(error).__name__.removesuffix("Error"))
    return "_".join(words).lower()
