"""The text of a filter as tasks are selected by it: `email:* payload=42 error="timed out"`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from asynq.durations import parse_duration
from asynq.inspector.task_filter import TaskFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

WORD = re.compile(r'(?:(type|payload|error|older|newer)=)?(?:"([^"]*)(?:"(?=\s|$)|$)|(\S+))')
HINT = 'type words, or payload=TEXT error="TEXT" type=PATTERN older=2h newer=30m'
_PATTERN = re.compile(r"[*?\[]")


def task_filter(text: str) -> TaskFilter | None:
    """The filter that a text means; None for no text.

    A word is a part of the type, or a pattern of it. `type=`, `payload=`, `error=`, `older=` and `newer=`
    name another condition.

    Raises:
        ValueError: A condition is given twice, or a duration is none.
    """
    conditions: dict[str, Any] = {}
    for name, quoted, bare in WORD.findall(text):
        value = quoted or bare
        key = {"older": "older_than", "newer": "newer_than"}.get(name, name or "type")
        if not value:
            continue
        if key in conditions:
            raise ValueError(f"{name or 'a type'} is given twice")
        if key == "type" and not _PATTERN.search(value):
            value = f"*{value}*"
        conditions[key] = parse_duration(value) if key.endswith("than") else value
    return TaskFilter(**conditions) if conditions else None


def names_matching(names: Sequence[str], text: str) -> list[str]:
    """The names that contain all words of a text, in upper or lower case."""
    words = text.casefold().split()
    return [name for name in names if all(word in name.casefold() for word in words)]
