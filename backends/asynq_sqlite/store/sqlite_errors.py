"""Translation of the errors of SQLite. No other module does this."""

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
"""Errors for a value that cannot be stored. They concern one operation, not the transaction."""


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & _PRIMARY_CODE


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds a lock, so that waiting helps."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: sqlite3.Error) -> bool:
    """Return whether there is no space left."""
    return _code(error) == sqlite3.SQLITE_FULL


def is_undecodable_text(error: sqlite3.Error) -> bool:
    """Return whether a text column is not valid UTF-8. The driver raises this, without a code."""
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")


def refused_value(op: Op[Any], error: Exception) -> AsynqError:
    """Return the answer to an operation whose value raised one of REFUSED_VALUES."""
    if isinstance(error, sqlite3.Error) and _code(error) == sqlite3.SQLITE_TOOBIG:
        return refusal(op, value_size(op), 0)
    said = f"{type(op).__name__} holds a value SQLite cannot store: {error}"
    return BrokerRefusedError(said, final=True)


def translated(error: sqlite3.Error, path: str, *, committing: bool = False) -> AsynqError:
    """Return the asynq error for an error of SQLite.

    Args:
        error: The error.
        path: The file, for the message.
        committing: Whether COMMIT raised it, so that the outcome may be unknown.

    """
    code = _code(error)
    if code == sqlite3.SQLITE_FULL:
        return BrokerFullError(f"{path}: {error}")
    if code in _REFUSALS:
        return BrokerRefusedError(f"{path} {_REFUSALS[code]} ({error})")
    if is_busy(error):
        return BrokerUnavailable(f"{path} is locked by another process for too long")
    return BrokerUnavailable(f"{path}: {error}", maybe_applied=committing)
