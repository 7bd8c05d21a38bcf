"""Patterns of queue names: `tenant-*` stands for all queues whose name begins so. Performs no I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_LITERAL: Final = "[*]"
"""How an asterisk is written that stands for itself."""


def is_pattern(text: str) -> bool:
    """Whether a text stands for any number of queues: it contains an asterisk that is not written `[*]`."""
    return "*" in text.replace(_LITERAL, "")


def literal(text: str) -> str:
    """The name of the queue that a text stands for which is no pattern."""
    return text.replace(_LITERAL, "*")


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern stands for this queue. `*` is any text, also none; all else stands for itself."""
    return _compiled(pattern).fullmatch(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\[\*\]|\*)", pattern)
    known = {"*": ".*", _LITERAL: r"\*"}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts), re.DOTALL)
