"""The root of all errors of this library."""

from __future__ import annotations


class AsynqError(Exception):
    """The root of all errors of this library."""
