"""A task as its author sees it: a type, a payload, headers, and what is asked of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Unpack

from attrs import field, frozen

from asynq.checks import check_name
from asynq.client.options import Options, TaskKeywords, options_of
from asynq.client.payload import encode_payload
from asynq.errors import PayloadError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.protocol.message import TaskMessage

_SHOWN_PAYLOAD = 60
_NO_OPTIONS = Options()


@frozen(init=False, repr=False)
class Task:
    """Work to be done: a type, which finds its handler, and a payload.

    bytes, bytearray and memoryview are the payload as they are and str as UTF-8; any other value is encoded
    as JSON. None is no payload at all, which for uniqueness is not the same as an empty one. The options (see
    `Options`) hold for every enqueue of this task unless the call says otherwise. TypeError or ValueError,
    naming the option, when one of them or the payload cannot be honoured.
    """

    type: str
    _payload: bytes | None = field(alias="payload")
    options: Options
    """What is asked of the task, its headers included."""

    def __init__(
        self,
        type: str,  # noqa: A002 - the public name, fixed by the API
        payload: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        **options: Unpack[TaskKeywords],
    ) -> None:
        check_name("type", type)
        encoded = None if payload is None else encode_payload(payload)
        given = {"headers": headers, **options}
        asked = options_of("Task", given) if headers or options else _NO_OPTIONS
        self.__attrs_init__(type, encoded, asked)

    @classmethod
    def from_message(cls, message: TaskMessage) -> Task:
        """The task as its handler sees it: type, payload and headers."""
        task = cls.__new__(cls)
        asked = Options(headers=message.headers) if message.headers else _NO_OPTIONS
        task.__attrs_init__(message.type, message.payload or None, asked)
        return task

    @property
    def payload(self) -> bytes:
        """The payload as it is stored; empty when there is none."""
        return self._payload or b""

    @property
    def text(self) -> str:
        """The payload as text, which is what was given as str; empty when there is none.

        PayloadError when it is not UTF-8: raised from a handler, it archives the task at once.
        """
        try:
            return self.payload.decode()
        except UnicodeDecodeError as error:
            raise PayloadError(self.type, str(error)) from None

    @property
    def has_payload(self) -> bool:
        """False for a task without a payload, True for one with an empty payload."""
        return self._payload is not None

    @property
    def headers(self) -> Mapping[str, str]:
        """Texts that travel with the task."""
        return self.options.headers or {}

    def json(self) -> Any:
        """The payload read as JSON; None when there is no payload.

        A payload that was given as str or bytes is sent as it is, and read with `text` or `payload`.
        PayloadError when it is not JSON: raised from a handler, it archives the task at once.
        """
        if not self.payload:
            return None
        try:
            return json.loads(self.payload)
        except (ValueError, RecursionError) as error:
            hint = "a payload given as str or bytes is no JSON, and read with task.text or task.payload"
            raise PayloadError(self.type, f"{error}; {hint}") from None

    def __repr__(self) -> str:
        shown = [repr(self.type)]
        if self._payload is not None:
            more = len(self._payload) - _SHOWN_PAYLOAD
            shown.append(repr(self._payload[:_SHOWN_PAYLOAD]) + (f"...{more} more bytes" if more > 0 else ""))
        shown += (f"{name}={value!r}" for name, value in self.options.given().items())
        return f"Task({', '.join(shown)})"
