"""What is raised for JSON of a store that cannot be decoded, whoever wrote it."""

from __future__ import annotations

from typing import Final

import msgspec

UNDECODABLE: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Errors of a decoder of msgspec. Deep nesting is a RecursionError."""
