"""`Task`: a task as a producer creates it and a handler receives it: type, payload, headers, options."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Unpack

from attrs import field, frozen

from asynq.checks import check_name
from asynq.client.options import NO_OPTIONS, EnqueueKeywords, Options, TaskKeywords, options_of, what_instead
from asynq.client.payload import encode_payload
from asynq.errors import PayloadError
from asynq.protocol.failures import FAILURES_HEADER
from asynq.protocol.followers import FOLLOWERS_HEADER
from asynq.protocol.sequences import MEMBERS_HEADER
from asynq.result_types import UNDECLARED, G_co, OfResults, R_co, ResultTypes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.protocol.message import TaskMessage

_SHOWN_PAYLOAD = 60
_OF_THIS_ONE = frozenset({FOLLOWERS_HEADER, MEMBERS_HEADER, FAILURES_HEADER})
"""Headers that do not belong to a task that is enqueued once more: what follows it, and its failures."""


@frozen(init=False, repr=False)
class Task(OfResults[R_co, G_co]):
    """A task: its type, which selects the handler, its payload and its options.

    The options (see `asynq.Options`) apply to every enqueue of this task unless the call
    overrides them. For type checkers, `Task[R]` is a task whose result is an `R`, and `Task[R, G]` one whose
    progress is a `G`; for a task that is made without a definition, such as a TaskType, both are bytes.

    Args:
        type: type of the task.
        payload: bytes, bytearray and memoryview are stored unchanged, str as UTF-8; any other value is
            encoded as JSON. None is no payload at all, which uniqueness distinguishes from an empty one.
        headers: key-value texts that are stored with the task.
        **options: options of the task.

    Raises:
        TypeError: the payload or an option has the wrong type; the message names it.
        ValueError: the payload or an option has an invalid value; the message names it.
    """

    type: str
    payload: bytes
    """The payload as it is stored; empty if there is none."""
    has_payload: bool
    """False for a task without a payload, True for one with an empty payload."""
    options: Options
    """Options of the task, including its headers."""
    result_types: ResultTypes = field(default=UNDECLARED, eq=False)
    """The types that the definition of the task declares for its result and its progress."""

    def __init__(
        self: Task[bytes, bytes],
        type: str,  # noqa: A002 - the public name, fixed by the API
        payload: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TaskKeywords],
    ) -> None:
        check_name("type", type)
        encoded = b"" if payload is None else encode_payload(payload)
        asked = options_of("Task", {**options, "headers": headers}) if headers or options else NO_OPTIONS
        self.__attrs_init__(type, encoded, payload is not None, asked)

    def with_options(self, **options: Unpack[EnqueueKeywords]) -> Task[R_co, G_co]:
        """The same task with these options, which override its own. Headers are merged.

        Raises:
            TypeError: an option is unknown or has the wrong type; the message names it.
            ValueError: an option has an invalid value; the message names it.
        """
        asked = self.options | options_of("with_options", options)
        return Task.of_parts(self.type, self.payload if self.has_payload else None, asked, self.result_types)

    @classmethod
    def of_parts(
        cls, task_type: str, payload: bytes | None, options: Options, types: ResultTypes
    ) -> Task[Any, Any]:
        """A task of valid parts: its payload as it is stored, None for none, and its options."""
        task = cls.__new__(cls)
        task.__attrs_init__(task_type, payload or b"", payload is not None, options, types)
        return task

    @classmethod
    def from_message(cls, message: TaskMessage) -> Task:
        """The task as its handler receives it: type, payload and headers."""
        task = cls.__new__(cls)
        headers = message.headers
        if headers and not _OF_THIS_ONE.isdisjoint(headers):
            headers = {name: text for name, text in headers.items() if name not in _OF_THIS_ONE}
        asked = Options(headers=headers) if headers else NO_OPTIONS
        task.__attrs_init__(message.type, message.payload, bool(message.payload), asked)
        return task

    if TYPE_CHECKING:  # attrs defines it; a type checker should let tasks with different results be compared

        def __eq__(self, other: object) -> bool: ...

        def __hash__(self) -> int: ...

    @property
    def text(self) -> str:
        """The payload as text; empty if there is none. For a payload that was given as str.

        Raises:
            PayloadError: the payload is not UTF-8. Raised from a handler, it archives the task at once.
        """
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(self.type, str(error)) from None

    @property
    def headers(self) -> Mapping[str, str]:
        """Key-value texts that are stored with the task."""
        return self.options.headers or {}

    def json(self) -> Any:
        """Decode the payload as JSON.

        A payload that was given as str or bytes is not encoded as JSON: read it with `text` or `payload`.

        Returns:
            The decoded value; None if there is no payload.

        Raises:
            PayloadError: the payload is not JSON. Raised from a handler, it archives the task at once.
        """
        if not self.payload:
            return None
        try:
            return json.loads(self.payload)
        except (ValueError, RecursionError) as error:
            hint = "a payload given as str or bytes is not JSON; read it with task.text or task.payload"
            raise PayloadError(self.type, f"{error}; {hint}") from None

    def __repr__(self) -> str:
        shown = [repr(self.type)]
        if self.has_payload:
            more = len(self.payload) - _SHOWN_PAYLOAD
            shown.append(repr(self.payload[:_SHOWN_PAYLOAD]) + (f"...{more} more bytes" if more > 0 else ""))
        shown += (f"{name}={value!r}" for name, value in self.options.given().items())
        return f"Task({', '.join(shown)})"


def check_task(task: object) -> None:
    """TypeError, with what to write, for anything but a Task."""
    if isinstance(task, Task):
        return
    raise TypeError(f"task must be an asynq.Task, not {what_instead(task)}")
