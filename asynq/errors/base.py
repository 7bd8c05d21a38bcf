"""`AsynqError`, the base class of all errors of this library."""

from __future__ import annotations


class AsynqError(Exception):
    """Base class of all errors of this library."""


ANY_FAILURE = (Exception, SystemExit, KeyboardInterrupt)
"""What user code may raise in a coroutine, except what ends the coroutine itself."""
