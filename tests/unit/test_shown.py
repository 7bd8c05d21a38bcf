"""Untrusted text in logs and on terminals: one line, bounded, without control characters."""

from __future__ import annotations

import copy
import logging
import logging.config
import re
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import HandlerNotFoundError
from asynq.runtime.logs import get_logger
from asynq.runtime.safe_text import MAX_NOTE, MAX_TEXT, MAX_TRACEBACK, shown, shown_repr, shown_traceback

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORGED = "2026-01-01 00:00:00 INFO asynq.server: closed"
HOSTILE = f"a\r\n{FORGED}\x1b]0;title\x07\x1b[2J\x9b31m\u202eb\u2028c\x00\x7f\ud800"
NAMEABLE = HOSTILE.replace("\0", "").removesuffix("\ud800")
LARGE = 2_000_000
ONE_LINE = 3 * MAX_TEXT


def is_harmless(text: str) -> bool:
    return all(one.isprintable() for one in text)


class UnshowableError(Exception):
    def __str__(self) -> str:
        raise SystemExit

    __repr__ = __str__


@pytest.mark.parametrize("show", [shown, shown_repr])
@pytest.mark.parametrize(
    "value",
    [
        HOSTILE,
        HOSTILE.encode(errors="replace"),
        [HOSTILE],
        ValueError(HOSTILE),
        HandlerNotFoundError(HOSTILE),
        ExceptionGroup(HOSTILE, [ValueError(HOSTILE)]),
        UnshowableError(),
        "x" * LARGE,
        "\n" * LARGE,
        ValueError("x" * LARGE),
        type(NAMEABLE, (Exception,), {})(HOSTILE),
    ],
    ids=lambda value: type(value).__name__[:20],
)
def test_shown_text_is_one_safe_line(show: Any, value: object) -> None:
    text = show(value)
    assert is_harmless(text)
    assert 0 < len(text) <= MAX_TEXT


def test_safe_text_is_shown_unchanged() -> None:
    assert shown("naïve 任务 🎉 C:\\new") == "naïve 任务 🎉 C:\\new"
    assert shown("a\tb\nc\x1b") == r"a\tb\nc\x1b"
    assert shown_repr("it's\n") == repr("it's\n")
    assert shown(ValueError("boom")) == "ValueError: boom"
    assert shown("x" * 3, limit=2) == "x…"


def error_of(raising: Any) -> Exception:
    try:
        raising()
    except Exception as error:  # noqa: BLE001 - any error will do
        return error
    raise AssertionError


def failing_with(message: str, *notes: str, cause: Exception | None = None) -> Exception:
    def fail() -> None:
        error = ValueError(message)
        for note in notes:
            error.add_note(note)
        raise error from cause

    return error_of(fail)


def test_a_traceback_equals_that_of_python() -> None:
    told = shown_traceback(failing_with("boom", "a note", cause=failing_with("before")))
    assert re.findall(r"^\S.*$", told, re.MULTILINE) == [
        "Traceback (most recent call last):",
        "ValueError: before",
        "The above exception was the direct cause of the following exception:",
        "Traceback (most recent call last):",
        "ValueError: boom",
    ]
    assert f'  File "{__file__}", line ' in told
    assert "    a note" in told.splitlines()


@pytest.mark.parametrize(
    "error",
    [
        failing_with(HOSTILE),
        failing_with("boom", HOSTILE, f"{FORGED}\n{FORGED}"),
        failing_with("boom", cause=failing_with(HOSTILE, HOSTILE)),
        ExceptionGroup(HOSTILE, [failing_with(HOSTILE, HOSTILE)]),
        error_of(
            lambda: compile(f"a = = '{HOSTILE[:1]}'", HOSTILE.replace("\0", "").rstrip("\ud800"), "exec")
        ),
        UnshowableError(),
        type(NAMEABLE, (Exception,), {})(HOSTILE),
    ],
)
def test_no_line_of_a_traceback_resembles_a_log_record(error: BaseException) -> None:
    lines = shown_traceback(error).split("\n")
    assert all(map(is_harmless, lines))
    assert not any(line.startswith((FORGED[:4], "INFO")) for line in lines)


def deep(depth: int) -> None:
    if depth:
        deeper(depth - 1)
    raise ValueError("at the bottom")


def deeper(depth: int) -> None:
    deep(depth)


@pytest.mark.parametrize(
    "error",
    [
        failing_with("x" * LARGE),
        failing_with("x\n" * (LARGE // 2)),
        failing_with("boom", *["n" * MAX_NOTE] * 50),
        failing_with("boom", cause=ExceptionGroup("many", [failing_with("m" * MAX_TEXT)] * 50)),
        error_of(lambda: deep(400)),
    ],
    ids=["large", "lines", "notes", "group", "deep"],
)
def test_a_traceback_is_bounded_and_keeps_both_ends(error: BaseException) -> None:
    told = shown_traceback(error)
    assert len(told) <= MAX_TRACEBACK
    first, *_, last = told.splitlines()
    assert first.endswith(("Traceback (most recent call last):", "ExceptionGroup: many (50 sub-exceptions)"))
    assert last.startswith(("ValueError: ", "    "))
    if error.args == ("at the bottom",):
        assert "characters left out" in told
        assert last == "ValueError: at the bottom"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Restore what a logging configuration changes."""
    root, known = logging.getLogger(), list(logging.root.manager.loggerDict.values())
    disabled = [log for log in known if isinstance(log, logging.Logger) and log.disabled]
    handlers, level, kind = root.handlers[:], root.level, logging.getLoggerClass()
    yield
    logging.setLoggerClass(kind)
    root.handlers[:] = handlers
    root.setLevel(level)
    for log in known:
        if isinstance(log, logging.Logger):
            log.disabled = log in disabled


@pytest.fixture
def plain_handler() -> Iterator[tuple[logging.Logger, StringIO, list[logging.LogRecord]]]:
    """A logger of ours with an ordinary handler, and the records that the handler received."""
    log, stream, records = get_logger("asynq.test.shown"), StringIO(), list[logging.LogRecord]()

    class Keeping(logging.StreamHandler[StringIO]):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)
            super().emit(record)

    handler = Keeping(stream)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    log.propagate = False
    yield log, stream, records
    log.removeHandler(handler)


def test_every_logging_handler_writes_safe_lines(plain_handler: Any) -> None:
    log, stream, [*records] = plain_handler
    error = failing_with(HOSTILE, HOSTILE)
    log.error("task %r (%s) %d %.1f %s", HOSTILE, HOSTILE, 3, 2.5, error, exc_info=error)
    log.warning("%(type)s", {"type": HOSTILE})
    written = stream.getvalue().split("\n")
    assert all(map(is_harmless, written))
    assert [line for line in written if re.match(r"[A-Z]+ ", line)] == [
        f"ERROR task {HOSTILE!r} ({shown(HOSTILE)}) 3 2.5 {shown(error)}",
        f"WARNING {shown(HOSTILE)}",
    ]
    records = plain_handler[2]
    # for readers of the error itself
    assert records[0].exc_info[1] is error
    assert all(isinstance(one, str | int | float) for one in records[0].args)


def test_a_logging_configuration_does_not_disable_our_loggers(
    plain_handler: Any, tmp_path: Path, restored_logging: None
) -> None:
    log, stream, _ = plain_handler
    (tmp_path / "logging.ini").write_text(
        "[loggers]\nkeys=root\n[handlers]\nkeys=\n[formatters]\nkeys=\n[logger_root]\nhandlers=\n"
    )
    logging.config.fileConfig(tmp_path / "logging.ini")
    log.error("after fileConfig")
    logging.config.dictConfig({"version": 1})
    log.error("after dictConfig")
    assert stream.getvalue() == "ERROR after fileConfig\nERROR after dictConfig\n"


def test_our_loggers_keep_the_class_set_by_a_program(restored_logging: None) -> None:
    class Own(logging.Logger):
        pass

    logging.setLoggerClass(Own)
    log = get_logger("asynq.test.own_class")
    assert isinstance(log, Own)
    assert get_logger("asynq.test.own_class") is log
    assert copy.copy(log) is log


def test_a_large_record_is_shortened(plain_handler: Any) -> None:
    log, stream, _ = plain_handler
    error = failing_with("x" * LARGE, "n" * LARGE)
    log.error("task %r: %s", "t" * LARGE, error, exc_info=error)
    assert len(stream.getvalue()) < 2 * MAX_TRACEBACK
