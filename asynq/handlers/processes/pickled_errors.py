"""Errors on their way from one process to another."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, cast

from attrs import frozen

from asynq.errors import AsynqError, HandlerError, RateLimited, RevokeTask, SkipRetry
from asynq.errors.text import error_text
from asynq.runtime.safe_text import shown_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ERROR_DEPTH = 10
"""Most causes of an error, and levels of groups, that are sent with it."""

_Parts = tuple[type[BaseException], tuple[Any, ...], Any]
"""Class, arguments and attributes of an error."""


@frozen
class PortableError:
    """An error that another process can rebuild: as it is, or else as one that has its text and its notes."""

    pickled: bytes | None
    """The error, or its parts; None for one that pickle does not reproduce."""
    substitute: AsynqError
    notes: tuple[str, ...]
    cause: PortableError | None
    members: tuple[PortableError, ...]
    """Of an exception group."""

    @classmethod
    def of(cls, error: BaseException, above: tuple[int, ...] = ()) -> PortableError:
        """The error, its causes and the members of its groups."""
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
        """The error. `load` unpickles with the names that modules have in this process."""
        error = self._rebuilt([member.error(load) for member in self.members], load)
        if self.cause is not None:
            error.__cause__ = self.cause.error(load)
        # A class that says itself how it is pickled may forget them.
        known = getattr(error, "__notes__", ())
        for note in self.notes:
            if note not in known:
                error.add_note(note)
        return error

    def _rebuilt(self, members: list[BaseException], load: Callable[[bytes], Any]) -> BaseException:
        try:
            if self.pickled is not None:
                return _from(load(self.pickled), members)
        except BaseException:  # noqa: BLE001, S110 - the class cannot be imported here, or is another one here
            pass
        return BaseExceptionGroup(str(self.substitute), members) if members else self.substitute


@frozen
class HandlerRaised:
    """The process: the function raised this."""

    portable: PortableError
    traceback: str

    @classmethod
    def of(cls, error: BaseException) -> HandlerRaised:
        """An error as it can be sent. Never raises, whatever the error's own methods do."""
        try:
            portable = PortableError.of(error)
        except BaseException:  # noqa: BLE001 - as above
            text = f"the handler raised an error that cannot be inspected: {error_text(error)}"
            portable = PortableError(None, HandlerError(text), (), None, ())
        return cls(portable, shown_traceback(error))

    def error(self, load: Callable[[bytes], Any]) -> BaseException:
        """The error, with its causes, and its traceback as a note."""
        error = self.portable.error(load)
        error.add_note(f"In the process of the handler:\n{self.traceback}")
        return error


def _pickled(error: BaseException) -> bytes | None:
    """What rebuilds the error, tried out here: its parts, or what pickle makes of it."""
    ways: list[Callable[[], object]] = [lambda: error]
    if _is_its_parts(type(error)):
        # pickle would call __init__ with `args`, which are not what it was called with when it passes another
        # text on to its base class.
        ways.insert(0, lambda: _parts(error))
    for way in ways:
        try:
            data = pickle.dumps(way())
            copy = _from(pickle.loads(data), [])  # noqa: S301 - our own
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
    """Whether class, arguments and attributes are all there is to an error of this class."""
    own = [base for base in kind.__mro__ if base.__module__ != "builtins"]
    names = {"__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__getnewargs__", "__slots__"}
    return bool(own) and not any(vars(base).get(name) for base in own for name in names)


def _parts(error: BaseException) -> _Parts:
    kind, args, *state = cast("tuple[Any, ...]", error.__reduce__())
    return kind, args, state[0] if state else None


def _from(loaded: BaseException | _Parts, members: list[BaseException]) -> BaseException:
    """The error, from itself or from its parts without calling its __init__."""
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
    """An error that is decided about in the same way, and says the same."""
    text = error_text(error)
    if isinstance(error, RateLimited):
        return RateLimited(retry_in=error.retry_in, scope=error.scope)
    return next(
        (kind(text) for kind in (SkipRetry, RevokeTask) if isinstance(error, kind)), HandlerError(text)
    )
