"""The root of all errors of this library."""

from __future__ import annotations


class AsynqError(Exception):
    """The root of all errors of this library."""


ANY_FAILURE = (Exception, SystemExit, KeyboardInterrupt)
"""What code of others may raise in a coroutine: everything but what ends the coroutine itself."""
