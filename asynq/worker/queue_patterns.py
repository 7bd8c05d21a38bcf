"""Patterns of queue names: `tenant-*` stands for all queues whose name begins so. Performs no I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

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


def records(recorded: Collection[str], name: str) -> bool:
    """Whether a server whose record has these names and patterns serves a queue, or will within seconds."""
    return name in recorded or any(is_pattern(each) and matches(each, name) for each in recorded)


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\[\*\]|\*)", pattern)
    known = {"*": ".*", _LITERAL: r"\*"}
    return re.compile("".join(known.get(part) or re.escape(part) for part in parts), re.DOTALL)
