"""What decoders of msgspec raise for data of a store that cannot be decoded, whoever wrote it."""

from __future__ import annotations

from typing import Final

import msgspec

DECODE_ERRORS: Final = (msgspec.MsgspecError, UnicodeError, RecursionError)
"""Deep nesting is a RecursionError."""
