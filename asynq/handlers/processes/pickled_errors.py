"""Exceptions sent from one process to another, with a substitute for those that cannot be pickled."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from asynq.errors import AsynqError, HandlerError, RateLimited, RetryIn, RevokeTask, SkipRetry
from asynq.errors.text import error_text
from asynq.runtime.safe_text import shown_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ERROR_DEPTH = 10
"""The most causes of an error, and levels of exception groups, that are sent with it."""

_Parts = tuple[type[BaseException], tuple[Any, ...], Any]
"""Class, arguments and attributes of an error."""


@frozen
class PortableError:
    """An error that another process can rebuild: the error itself, or a substitute with its text."""

    pickled: bytes | None
    """The pickled error, or its pickled parts; None if pickle cannot reproduce it."""
    substitute: AsynqError
    notes: tuple[str, ...]
    cause: PortableError | None
    members: tuple[PortableError, ...]
    """Members of an exception group."""

    @classmethod
    def of(cls, error: BaseException, above: tuple[int, ...] = ()) -> PortableError:
        """The portable form of an error, its causes and the members of its groups."""
        above = (*above, id(error))
        follow = len(above) < MAX_ERROR_DEPTH
        cause = error.__cause__ if follow and id(error.__cause__) not in above else None
        members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
        return cls(
            _pickled_group(error) if isinstance(error, BaseExceptionGroup) else _pickled(error),
            _substitute(error),
            tuple(note for note in getattr(error, "__notes__", ()) if isinstance(note, str)),
            None if cause is None else cls.of(cause, above),
            tuple(cls.of(member, above) for member in members if follow and id(member) not in above),
        )

    def error(self, load: Callable[[bytes], Any]) -> BaseException:
        """Rebuild the error. `load` unpickles with the names that modules have in this process."""
        error = self._rebuilt([member.error(load) for member in self.members], load)
        if self.cause is not None:
            error.__cause__ = self.cause.error(load)
        # A class with its own pickling may drop them.
        known = getattr(error, "__notes__", ())
        for note in self.notes:
            if note not in known:
                error.add_note(note)
        return error

    def _rebuilt(self, members: list[BaseException], load: Callable[[bytes], Any]) -> BaseException:
        try:
            if self.pickled is not None:
                return _from(load(self.pickled), members)
        except BaseException:  # noqa: BLE001, S110 - the class cannot be imported here, or differs here
            pass
        return BaseExceptionGroup(str(self.substitute), members) if members else self.substitute


@frozen
class HandlerRaised:
    """From the process: the function raised this error."""

    portable: PortableError
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> HandlerRaised:
        """The message for an error. Never raises, whatever the error's own methods do."""
        try:
            portable = PortableError.of(error)
        except BaseException:  # noqa: BLE001 - as above
            text = f"the handler raised an error that cannot be inspected: {error_text(error)}"
            portable = PortableError(None, HandlerError(text), (), None, ())
        return cls(portable, shown_traceback(error))

    def error(self, load: Callable[[bytes], Any]) -> BaseException:
        """Rebuild the error with its causes, and with its traceback as a note."""
        error = self.portable.error(load)
        error.add_note(f"In the process of the handler:\n{self.traceback}")
        return error


def _pickled(error: BaseException) -> bytes | None:
    """Pickle the error or its parts, whichever can be unpickled to an equal error."""
    ways: list[Callable[[], object]] = [lambda: error]
    if _is_its_parts(type(error)):
        # pickle would call __init__ with `args`. They differ from the original arguments if __init__ passes
        # another text to its base class.
        ways.insert(0, lambda: _parts(error))
    for way in ways:
        try:
            data = pickle.dumps(way())
            copy = _from(pickle.loads(data), [])  # noqa: S301 - our own data
            if type(copy) is type(error) and str(copy) == str(error):
                return data
        except BaseException:  # noqa: BLE001, S112 - what the error's own methods raise is not bounded
            continue
    return None


def _pickled_group(group: BaseExceptionGroup[Any]) -> bytes | None:
    try:
        kind, (message, *_), state = _parts(group)
        data = pickle.dumps((kind, (message,), state))
        copy = _from(pickle.loads(data), list(group.exceptions))  # noqa: S301 - our own
        return data if str(copy) == str(group) else None
    except BaseException:  # noqa: BLE001 - as above
        return None


def _is_its_parts(kind: type[BaseException]) -> bool:
    """True if class, arguments and attributes describe an error of this class completely."""
    own = [base for base in kind.__mro__ if base.__module__ != "builtins"]
    names = {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__slots__"}
    return bool(own) and not any(vars(base).get(name) for base in own for name in names)


def _parts(error: BaseException) -> _Parts:
    kind, args, *state = cast("tuple[Any, ...]", error.__reduce__())
    return kind, args, state[0] if state else None


def _from(loaded: BaseException | _Parts, members: list[BaseException]) -> BaseException:
    """The error, or an error made from its parts without calling `__init__`."""
    if isinstance(loaded, BaseException):
        return loaded
    kind, args, state = loaded
    if members:
        args = (*args, members)
    error = kind.__new__(kind, *args)
    native = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    cast("Any", native).__init__(error, *args)
    if state:
        error.__setstate__(state)
    return error


def _substitute(error: BaseException) -> AsynqError:
    """An error with the same text that leads to the same decision."""
    text = error_text(error)
    if isinstance(error, RateLimited):
        return RateLimited(retry_in=error.retry_in, scope=error.scope)
    if isinstance(error, RetryIn):
        return RetryIn(retry_in=error.retry_in, reason=text)
    return next(
        (kind(text) for kind in (SkipRetry, RevokeTask) if isinstance(error, kind)), HandlerError(text)
    )
