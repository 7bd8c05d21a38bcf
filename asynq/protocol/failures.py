"""Failures: the last attempts of a task that failed, kept in one of its headers.

A header survives a peer that writes the message again. A peer that knows nothing of it adds no entry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from asynq.protocol.decode_errors import DECODE_ERRORS
from asynq.task_state import TaskState  # noqa: TC001 - the decoder reads the annotations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.protocol.message import TaskMessage

FAILURES_HEADER: Final = "asynq-failures"
"""Header with the failed attempts of a task, as JSON."""
MAX_FAILURES: Final = 10
"""The most failed attempts that are kept: the last ones."""
MAX_ERROR_BYTES: Final = 300
"""The most bytes that are kept of the error of an attempt. The last error is kept as a whole beside them."""
LARGEST_WITH_FAILURES: Final = 512 * 1024
"""Bytes of payload and headers above which no attempt is recorded: no store's own limit is near below it."""

_CUT: Final = "…"


class Failure(Struct, frozen=True, array_like=True, gc=False):
    """An attempt that failed."""

    number: int
    """1 for the first attempt."""
    at: int
    """Unix milliseconds at which it was settled, or recovered from a lost worker."""
    to: TaskState
    """The state that followed: retry, archived or pending."""
    error: str | None
    """Text of the error, or its beginning. As stored, None: that of the attempt before."""
    ran: int | None = None
    """Milliseconds since its delivery; None if they are not known."""


_decoder: Final = msgspec.json.Decoder(tuple[Failure, ...])


def failures_of(message: TaskMessage) -> tuple[Failure, ...]:
    """The failed attempts of the task that are known, oldest first; none if the header is damaged."""
    text = message.headers.get(FAILURES_HEADER) if message.headers else None
    if text is None:
        return ()
    try:
        stored = _decoder.decode(text)
    except DECODE_ERRORS:
        return ()
    failures: list[Failure] = []
    error = ""
    for failure in stored:
        error = error if failure.error is None else failure.error
        failures.append(replace(failure, error=error))
    return tuple(failures)


def headers_with(message: TaskMessage, failure: Failure) -> Mapping[str, str]:
    """The headers of the task after this attempt, whose number is at least the one given.

    Those of a large task are unchanged.
    """
    headers = message.headers
    if len(message.payload) + sum(map(_size, headers.items())) > LARGEST_WITH_FAILURES:
        return headers
    before = failures_of(message)[1 - MAX_FAILURES :]
    number = max(failure.number, before[-1].number + 1) if before else failure.number
    recorded = replace(failure, number=number, error=kept_text(failure.error or ""))
    return {**headers, FAILURES_HEADER: header_of((*before, recorded))}


def header_of(failures: Sequence[Failure]) -> str:
    """The header of a task with these failed attempts, oldest first."""
    stored: list[Failure] = []
    error: str | None = None
    for failure in failures:
        stored.append(replace(failure, error=None) if failure.error == error else failure)
        error = failure.error
    return msgspec.json.encode(stored).decode()


def without_failures(headers: Mapping[str, str]) -> Mapping[str, str]:
    """These headers without that of failed attempts."""
    if FAILURES_HEADER not in headers:
        return headers
    return {name: value for name, value in headers.items() if name != FAILURES_HEADER}


def kept_text(error: str) -> str:
    """What is kept of the text of an error."""
    encoded = error.encode(errors="replace")
    if len(encoded) <= MAX_ERROR_BYTES:
        return encoded.decode()
    return encoded[: MAX_ERROR_BYTES - len(_CUT.encode())].decode(errors="ignore") + _CUT


def _size(header: tuple[str, str]) -> int:
    return len(header[0]) + len(header[1])
