"""Text of other people as it may be shown in a log or on a terminal: bounded, with nothing that acts there.

A newline could forge a line, an escape sequence could move a cursor, and a text may be of any length.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asynq.errors.text import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TEXT = 2_000
"""Most characters that are shown of one text."""
MAX_NOTE = 10_000
"""The same of a note of an error: the traceback of another process may be one."""
MAX_TRACEBACK = 20_000
"""The same of a traceback; what is too much is left out of its middle."""

_INDENT = "    "
_MAX_NOTES = 10


def shown(value: object, limit: int = MAX_TEXT) -> str:
    """The text of any value on one line of at most `limit` characters, an error's by `error_text`.

    Characters that are not printable (control characters, line breaks, text directions) are escaped as in
    Python. Never raises.
    """
    if isinstance(value, BaseException):
        return _cut(escaped(error_text(value)), limit)
    text = value if isinstance(value, str) else _safely(str, value)
    return _cut(escaped(text[: limit + 1]), limit)


def shown_repr(value: object, limit: int = MAX_TEXT) -> str:
    """`shown` of the value's repr."""
    return shown(_safely(repr, value[:limit] if isinstance(value, str) else value), limit)


def shown_lines(text: str) -> str:
    """The text with its line breaks, its other characters escaped where they are not printable."""
    return "\n".join(map(escaped, text.expandtabs(4).split("\n")))


def escaped(text: str) -> str:
    """The text without characters that are not printable: they are written as in a Python literal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def shown_traceback(error: BaseException) -> str:
    """The traceback of an error, with its causes and notes, of at most MAX_TRACEBACK characters.

    No line looks like one of a log: what an error says on further lines, and in notes, is indented. Other
    characters that are not printable are escaped. Never raises.
    """
    try:
        told = traceback.TracebackException.from_exception(error)
        for part in _parts(told):
            _bound(part)
        lines = [line for piece in told.format() for line in _lines(piece)]
    except BaseException as failure:  # noqa: BLE001 - what an error's own methods do is not bounded
        return f"(a traceback that cannot be shown: {type(failure).__name__}) {shown(error)}"
    return _without_middle("\n".join(lines))


def _parts(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """It, its causes and contexts and the members of its groups."""
    waiting = [told]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [one for one in (part.__cause__, part.__context__) if one is not None]
        waiting += getattr(part, "exceptions", None) or []


def _bound(part: traceback.TracebackException) -> None:
    """Shorten what an error says before it is formatted: it may be larger than the memory that is left."""
    for name in ("_str", "msg", "text"):
        said = getattr(part, name, None)
        if isinstance(said, str):
            setattr(part, name, _cut(said, MAX_TEXT))
    notes = getattr(part, "__notes__", None)
    if notes is None:
        return
    if not isinstance(notes, Sequence) or isinstance(notes, str | bytes):
        notes = [shown_repr(notes)]
    more = [f"({len(notes) - _MAX_NOTES} more notes)"] if len(notes) > _MAX_NOTES else []
    part.__notes__ = [_as_note(note) for note in [*notes[:_MAX_NOTES], *more]]


def _as_note(note: object) -> str:
    text = _without_middle(_safely(str, note), MAX_NOTE)
    return "\n".join(_INDENT + line for line in text.split("\n"))


def _lines(piece: str) -> Iterator[str]:
    """The lines of a piece of a traceback: the first as it is, others that are not indented are now."""
    first, *further = piece.removesuffix("\n").expandtabs(4).split("\n")
    yield escaped(first)
    for line in further:
        # Only what stands between an error and its cause begins with an empty line.
        yield escaped(line if not first or line.startswith("  ") else _INDENT + line)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _without_middle(text: str, limit: int = MAX_TRACEBACK) -> str:
    """A traceback says most at its end, and begins with the first cause."""
    if len(text) <= limit:
        return text
    left_out = f"\n{_INDENT}… {len(text) - limit} characters are left out …\n{_INDENT}"
    room = limit - len(left_out)
    return text[: room // 3] + left_out + text[-(room - room // 3) :]


def _safely(to_text: Callable[[object], str], value: object) -> str:
    try:
        return to_text(value)
    except BaseException as failure:  # noqa: BLE001 - the value's own code
        return f"{type(value).__name__} (which cannot be shown: it raised {type(failure).__name__})"
