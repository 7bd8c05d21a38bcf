"""Errors that are sent from a handler process to its worker."""

from __future__ import annotations

import pickle
import threading
from datetime import timedelta
from typing import Any

import pytest
from attrs import define

from asynq.errors import HandlerError, LeaseLostError, RateLimited, RevokeTask, SkipRetry
from asynq.handlers.outcome import wraps
from asynq.handlers.processes.pickled_errors import HandlerRaised


class FormatsError(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(f"bad {number}")
        self.number = number


class KeywordsError(Exception):
    def __init__(self, *, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class SilentError(Exception):
    def __init__(self, code: int, why: str) -> None:
        self.code, self.why = code, why

    def __str__(self) -> str:
        return f"{self.why} ({self.code})"


class ReducesError(Exception):
    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> Any:
        return ReducesError, (self.code,)


class DiskError(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(28, "disk full", path)


class SlottedError(Exception):
    __slots__ = ("code",)

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@define
class AttrsError(Exception):
    code: int


class Refused(SkipRetry):
    def __init__(self, order: int) -> None:
        super().__init__(f"order {order} is refused")


class Slow(RateLimited):
    """An error with a value that cannot be sent to another process."""

    def __init__(self, seconds: int) -> None:
        super().__init__(timedelta(seconds=seconds), "api")
        self.lock = threading.Lock()


class LockedError(Exception):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class LockedVerdict(SkipRetry):
    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.lock = threading.Lock()


class HostileError(Exception):
    def __reduce__(self) -> Any:
        raise SystemExit(3)


class BrokenError(Exception):
    """An error that raises when one of its attributes is read."""

    def __getattribute__(self, name: str) -> Any:
        if name == super().__getattribute__("args")[0]:
            raise SystemExit(3)
        return super().__getattribute__(name)


class HalfMadeError(RateLimited):
    def __init__(self) -> None:
        pass


def sent(error: BaseException) -> BaseException:
    raised: HandlerRaised = pickle.loads(pickle.dumps(HandlerRaised.of(error)))  # noqa: S301
    return raised.error(pickle.loads)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("boom"),
        KeyError("key"),
        OSError(2, "not there", "file"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
        FormatsError(3),
        KeywordsError(code=3, why="because"),
        SilentError(3, "because"),
        ReducesError(3),
        DiskError("/tmp"),
        SlottedError(3),
        AttrsError(3),
        Refused(7),
        LeaseLostError("default", "id-1"),
        RateLimited(timedelta(seconds=3), "api"),
        SystemExit(3),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_keeps_its_class_its_text_and_its_attributes(error: BaseException) -> None:
    error.add_note("seen in passing")
    copy = sent(error)
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert repr(copy) == repr(error)
    assert copy.__notes__[0] == "seen in passing"
    for name in ("code", "number", "errno", "filename", "retry_in", "queue", "why", "scope"):
        assert getattr(copy, name, None) == getattr(error, name, None)


def raised_locally() -> Exception:
    class LocalError(Exception):
        pass

    return LocalError("boom")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (LockedError("boom"), "LockedError: boom"),
        (raised_locally(), "LocalError: boom"),
        (HostileError("boom"), "HostileError: boom"),
    ],
)
def test_an_error_that_cannot_be_pickled_keeps_its_text_and_its_notes(error: Exception, text: str) -> None:
    error.add_note("seen in passing")
    copy = sent(error)
    assert type(copy) is HandlerError
    assert str(copy) == text
    assert copy.__notes__[0] == "seen in passing"


@pytest.mark.parametrize("error", [BrokenError("__cause__"), BrokenError("__notes__"), HalfMadeError()])
def test_an_error_that_raises_when_inspected_can_be_sent(error: Exception) -> None:
    copy = sent(error)
    assert type(copy) is HandlerError
    assert f"cannot be inspected: {type(error).__name__}" in str(copy)


def test_an_error_whose_class_the_worker_cannot_import_keeps_its_text() -> None:
    def load(data: bytes) -> object:
        raise ModuleNotFoundError("of the process alone")

    copy = HandlerRaised.of(FormatsError(3)).error(load)
    assert type(copy) is HandlerError
    assert str(copy) == "FormatsError: bad 3"


def test_a_verdict_that_cannot_be_pickled_stays_a_verdict() -> None:
    assert type(sent(LockedVerdict("for good"))) is SkipRetry
    limited = sent(Slow(3))
    assert isinstance(limited, RateLimited)
    assert (limited.retry_in, limited.scope) == (timedelta(seconds=3), "api")


def test_causes_and_members_of_groups_are_sent_separately() -> None:
    inner = FormatsError(3)
    inner.__cause__ = RevokeTask()
    group = ExceptionGroup("several", [inner, LockedError("boom"), ExceptionGroup("deep", [ValueError("x")])])
    group.__cause__ = LockedError("the cause")
    group.add_note("seen in passing")
    copy = sent(group)
    assert type(copy) is ExceptionGroup
    assert str(copy) == str(group)
    assert copy.__notes__[0] == "seen in passing"
    assert [str(member) for member in copy.exceptions] == [
        "bad 3",
        "LockedError: boom",
        "deep (1 sub-exception)",
    ]
    assert type(copy.exceptions[0]) is FormatsError
    assert wraps(copy, RevokeTask)
    assert str(copy.__cause__) == "LockedError: the cause"


def test_circular_causes_are_cut() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    group = ExceptionGroup("several", [first])
    second.__cause__ = group
    copy = sent(group)
    assert isinstance(copy, ExceptionGroup)
    assert str(copy.exceptions[0].__cause__) == "second"


def test_the_traceback_is_sent_as_a_note() -> None:
    with pytest.raises(FormatsError) as caught:
        raise FormatsError(3)
    copy = sent(caught.value)
    assert "in test_the_traceback_is_sent_as_a_note\n" in copy.__notes__[0]
