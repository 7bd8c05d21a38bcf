"""What a worker and its handler processes say to each other: pickles, each to the other's own modules."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.error_text import error_text
from asynq.errors import AsynqError, HandlerError, RevokeTask, SkipRetry
from asynq.outcome import wraps
from asynq.shown import shown_traceback

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from asynq.message import Delivery
    from asynq.ops import Op
    from asynq.task import Task

LONGEST_CHAIN = 10
"""Most causes of an error that are told with it."""


@frozen
class Call:
    """The worker: run this function."""

    function: Callable[..., Any]
    delivery: Delivery
    task: Task
    payload: Any
    """The type to decode the task's payload to, for a function which is given that; None for one of tasks."""
    deadline: datetime


@frozen
class Ask:
    """The process: have the broker carry this out for me."""

    op: Op[Any]


@frozen
class Answer:
    """The worker: this is the broker's answer, or its error."""

    answer: Any


@frozen
class Returned:
    """The process: the function returned; this is the task's result."""

    result: bytes | None


@frozen
class Raised:
    """The process: the function raised the first of these, which was raised from the next, and so on."""

    chain: tuple[BaseException, ...]
    seen: str
    """The traceback, as text."""

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        """An error as it can travel: what cannot be pickled is replaced by an error that says the same."""
        chain = [error]
        while (cause := chain[-1].__cause__) is not None and len(chain) < LONGEST_CHAIN:
            chain.append(cause)
        seen = shown_traceback(error)
        return cls(tuple(map(_portable, chain)), seen)

    def error(self) -> BaseException:
        """The error, with its causes, and its traceback as a note."""
        for error, cause in zip(self.chain, self.chain[1:], strict=False):
            error.__cause__ = cause
        self.chain[0].add_note(f"In the process of the handler:\n{self.seen}")
        return self.chain[0]


def dumps(said: object) -> bytes:
    """As bytes. Whatever pickle raises when a part of it cannot travel."""
    return pickle.dumps(said, protocol=pickle.HIGHEST_PROTOCOL)


def loads(data: bytes, theirs: str, ours: Callable[[], str]) -> Any:
    """What the other side said. Its module `theirs` is known here by the name that `ours` answers."""
    return _Unpickler(io.BytesIO(data), theirs, ours).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, theirs: str, ours: Callable[[], str]) -> None:
        super().__init__(file)
        self._theirs = theirs
        self._ours = ours

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self._ours() if module == self._theirs else module, name)


def _portable(error: BaseException) -> BaseException:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - what pickling raises is not bounded
        kinds: tuple[type[AsynqError], ...] = (SkipRetry, RevokeTask)
        kind = next((kind for kind in kinds if wraps(error, kind)), HandlerError)
        return kind(error_text(error))
    return error
