"""What SQLite's errors mean to a user of the queue: the one place where they are translated."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

from asynq.errors import AsynqError, BrokerFullError, BrokerRefusedError, BrokerUnavailable
from asynq.protocol.value_sizes import refusal, value_size

if TYPE_CHECKING:
    from asynq.protocol.ops import Op

_PRIMARY_CODE = 0xFF  # extended result codes keep their family in the low byte

_REFUSALS = {
    sqlite3.SQLITE_NOTADB: "is not a SQLite database: give the path of another file, or remove this one",
    sqlite3.SQLITE_CORRUPT: "is damaged: stop all its users, rescue it with the sqlite3 shell's .recover",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: its directory must exist, and you may read and write there",
    sqlite3.SQLITE_READONLY: "is read-only: this user must be able to write the file and its directory",
    sqlite3.SQLITE_PERM: "may not be accessed: this user must be able to write the file and its directory",
}

REFUSED_VALUES = (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, UnicodeEncodeError)
"""What SQLite or its driver raises for a value that cannot be stored: one operation's own fault."""


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE


def is_busy(error: sqlite3.Error) -> bool:
    """True when another connection is in the way and waiting helps."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: sqlite3.Error) -> bool:
    """True when there is no room left."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_undecodable_text(error: sqlite3.Error) -> bool:
    """True when a text column does not hold UTF-8: the driver's own refusal, which has no code."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def refused_value(op: Op[Any], error: Exception) -> AsynqError:
    """The answer to an operation whose value cannot be stored, which is one of REFUSED_VALUES."""
    if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_TOOBIG:
        return refusal(op, value_size(op), 0)
    said = f"{type(op).__name__} holds a value SQLite cannot store: {error}"
    return BrokerRefusedError(said, final=True)


def translated(error: sqlite3.Error, path: str, *, committing: bool = False) -> AsynqError:
    """The error of ours that says the same. `committing`: the outcome may be unknown."""
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return BrokerFullError(f"{path}: {error}")
    if code in _REFUSALS:
        return BrokerRefusedError(f"{path} {_REFUSALS[code]} ({error})")
    if is_busy(error):
        return BrokerUnavailable(f"{path} is locked by another process for too long")
    return BrokerUnavailable(f"{path}: {error}", maybe_applied=committing)
