"""Loggers of this library: escapes and bounds untrusted text in records, and configures log output."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Self

from asynq.runtime.log_formats import chosen_format, stderr_handler
from asynq.runtime.safe_text import shown, shown_repr, shown_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def get_logger(name: str) -> logging.Logger:
    """Get a logger whose records are safe to write: arguments and tracebacks are bounded and escaped.

    `exc_info` is kept for handlers that read the error itself. Errors of filters and handlers are written to
    stderr and not raised. The logger cannot be disabled, because `dictConfig` and `fileConfig` disable all
    loggers that they do not name.
    """
    log = logging.getLogger(name)
    log.addFilter(_SAFE)
    if "handle" not in vars(log):
        vars(log)["handle"] = partial(_handle, log.handle)
    if not isinstance(log, _AlwaysEnabled):
        # The program may have set a class of its own for loggers.
        log.__class__ = type(type(log).__name__, (_AlwaysEnabled, type(log)), {})
    return log


def configure(level: str | int | None = None, *, filters: Sequence[logging.Filter] = ()) -> None:
    """Log to stderr in the chosen format, unless the program has configured logging itself.

    In that case, a given level is set for the root logger and for this library's loggers, and everything else
    stays as configured.

    Args:
        level: the lowest level that is logged. None means info.
        filters: filters of our output, which can add attributes to records.
    """
    root, ours = logging.getLogger(), logging.getLogger("asynq")
    if not ours.hasHandlers():
        handler = stderr_handler(chosen_format())
        for each in filters:
            handler.addFilter(each)
        root.addHandler(handler)
        root.setLevel(logging.INFO if level is None else level)
    elif level is not None:
        root.setLevel(level)
        ours.setLevel(level)


def _handle(handle: Callable[[logging.LogRecord], None], record: logging.LogRecord) -> None:
    # An error of a log handler must not stop the caller, which may be the loop that fetches tasks.
    try:
        handle(record)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        tell_failure(error)


def tell_failure(error: BaseException) -> None:
    """Write an error of a log handler to stderr, as logging itself does."""
    if logging.raiseExceptions:
        with suppress(Exception):  # there may be no stderr, or it is closed
            sys.stderr.write(f"--- Logging error ---\n{shown_traceback(error)}\n")


class Levels(NamedTuple):
    """The log levels of a process, to be applied in processes that it starts."""

    root: int
    others: dict[str, int]
    """Levels by name of logger, for loggers with their own level."""
    disabled: int
    """The level up to which `logging.disable` suppresses messages."""

    @classmethod
    def of_program(cls) -> Levels:
        """Return the levels of this process."""
        known = list(logging.root.manager.loggerDict.items())
        others = {name: log.level for name, log in known if isinstance(log, logging.Logger) and log.level}
        return cls(logging.getLogger().getEffectiveLevel(), others, logging.root.manager.disable)

    def follow(self, *, filters: Sequence[logging.Filter] = ()) -> None:
        """Apply these levels. Logs to stderr as `configure` does."""
        configure(filters=filters)
        logging.getLogger().setLevel(self.root)
        for name, level in self.others.items():
            logging.getLogger(name).setLevel(level)
        logging.disable(self.disabled)


class _AlwaysEnabled(logging.Logger):
    """A logger that cannot be disabled."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass


class _Safe(logging.Filter):
    """Makes a record safe before a handler receives it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Mapping):
            record.args = {name: _safe(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_safe, record.args))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            # Formatters use this text instead of formatting the error themselves.
            record.exc_text = shown_traceback(error)
        return True


class _Shown(str):
    """An argument of a log record, safe for both %s and %r."""

    __slots__ = ("_repr",)
    _repr: str

    def __new__(cls, value: object) -> Self:
        self = super().__new__(cls, shown(value))
        self._repr = shown_repr(value)
        return self

    def __repr__(self) -> str:
        return self._repr


def _safe(value: object) -> object:
    return value if isinstance(value, int | float | None) else _Shown(value)


_SAFE = _Safe()
