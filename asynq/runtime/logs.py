"""The loggers of this library: what their records carry of other people does no harm where it is written."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from asynq.runtime.safe_text import shown, shown_repr, shown_traceback

if TYPE_CHECKING:
    from collections.abc import Callable

FORMAT = "%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"
"""How a process of ours logs that nobody else configured."""


def get_logger(name: str) -> logging.Logger:
    """A logger whose records any handler can write: arguments and tracebacks are bounded and escaped.

    `exc_info` stays for handlers that look at the error itself. What filters and handlers raise, of the
    program or of logging at a stream that is closed, is written to stderr and raised to nobody. The logger
    cannot be disabled: `dictConfig` and `fileConfig` disable what they do not name, whenever they are called.
    """
    log = logging.getLogger(name)
    log.addFilter(_SAFE)
    if "handle" not in vars(log):
        vars(log)["handle"] = partial(_handle, log.handle)
    if not isinstance(log, _AlwaysEnabled):
        # The program may have set a class of its own for loggers.
        log.__class__ = type(type(log).__name__, (_AlwaysEnabled, type(log)), {})
    return log


def configure(level: str | int | None = None) -> None:
    """Log to stderr from `level` on (None: info), unless the program has configured its logging itself.

    Then a level that is given holds for the root logger and for ours, and all else stays as configured.
    """
    root, ours = logging.getLogger(), logging.getLogger("asynq")
    if not ours.hasHandlers():
        handler = logging.StreamHandler()
        handler.setFormatter(_SafeFormatter(FORMAT))
        root.addHandler(handler)
        root.setLevel(logging.INFO if level is None else level)
    elif level is not None:
        root.setLevel(level)
        ours.setLevel(level)


def _handle(handle: Callable[[logging.LogRecord], None], record: logging.LogRecord) -> None:
    # What logs is often what must go on, such as the loop that takes tasks.
    try:
        handle(record)
    except (Exception, SystemExit) as error:  # noqa: BLE001
        tell_failure(error)


def tell_failure(error: BaseException) -> None:
    """Write what handling a record raised to where logging writes such errors itself."""
    if logging.raiseExceptions:
        with suppress(Exception):  # there may be no stderr, or it is closed
            sys.stderr.write(f"--- Logging error ---\n{shown_traceback(error)}\n")


class Levels(NamedTuple):
    """From which levels on a process logs, for processes that it starts."""

    root: int
    others: dict[str, int]
    """Of the loggers that have a level of their own."""
    disabled: int
    """The level up to which `logging.disable` suppresses messages."""

    @classmethod
    def of_program(cls) -> Levels:
        """Those of this process."""
        known = list(logging.root.manager.loggerDict.items())
        others = {name: log.level for name, log in known if isinstance(log, logging.Logger) and log.level}
        return cls(logging.getLogger().getEffectiveLevel(), others, logging.root.manager.disable)

    def follow(self) -> None:
        """Log from these levels on: as the program configured it, else to stderr."""
        configure()
        logging.getLogger().setLevel(self.root)
        for name, level in self.others.items():
            logging.getLogger(name).setLevel(level)
        logging.disable(self.disabled)


class _AlwaysEnabled(logging.Logger):
    """A logger that nothing disables."""

    @property
    def disabled(self) -> bool:
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        pass


class _Safe(logging.Filter):
    """Makes a record safe before any handler sees it."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, Mapping):
            record.args = {name: _safe(value) for name, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_safe, record.args))
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            # Formatters take this instead of formatting the error themselves.
            record.exc_text = shown_traceback(error)
        return True


class _SafeFormatter(logging.Formatter):
    """Bounds and escapes the tracebacks of all loggers."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the name that logging calls
        return super().formatException(ei) if ei[1] is None else shown_traceback(ei[1])


class _Shown(str):
    """An argument of a record as it is shown, by %s and by %r."""

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
