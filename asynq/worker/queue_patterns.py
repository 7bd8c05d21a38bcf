"""Patterns of queue names: `tenant-*` stands for all queues whose name begins so. Performs no I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from asynq.protocol.presence import ServerInfo

_LITERAL: Final = "[*]"
"""How an asterisk is written that stands for itself."""


def is_pattern(text: str) -> bool:
    """Whether a text stands for any number of queues: it contains an asterisk that is not written `[*]`."""
    return "*" in text.replace(_LITERAL, "")


def literal(text: str) -> str:
    """The name of the queue that a text stands for which is no pattern."""
    return text.replace(_LITERAL, "*")


def matches(pattern: str, name: str) -> bool:
    """Whether a pattern stands for this queue. `*` is any text, also none; all else stands for itself.

    Takes time in proportion to the lengths of both: anyone who enqueues chooses a name.
    """
    first, *middle, last = _between_asterisks(pattern)
    place, end = len(first), len(name) - len(last)
    if not (place <= end and name.startswith(first) and name.endswith(last)):
        return False
    for part in middle:
        # The first occurrence leaves most text to the parts that follow: no other need be tried.
        found = name.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def records(recorded: Collection[str], name: str) -> bool:
    """Whether a server whose record has these names and patterns serves a queue, or will within seconds."""
    return name in recorded or any(is_pattern(each) and matches(each, name) for each in recorded)


def unserved(queues: Iterable[str], servers: Iterable[ServerInfo]) -> list[str]:
    """The queues that none of these servers takes tasks from. One that takes no new tasks serves none."""
    active = [server.queues for server in servers if server.status == "active"]
    return [queue for queue in queues if not any(records(served, queue) for served in active)]


@lru_cache(maxsize=1024)
def _between_asterisks(pattern: str) -> tuple[str, ...]:
    between = [""]
    for part in re.split(r"(\[\*\]|\*)", pattern):
        if part == "*":
            between.append("")
        else:
            between[-1] += literal(part)
    return tuple(between)
