"""Makes untrusted text safe for logs and terminals: escapes it and limits its length.

Without this, a newline could forge a log line and an escape sequence could control a terminal.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

from asynq.errors.text import error_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TEXT = 2_000
"""Maximum number of characters of a text."""
MAX_NOTE = 10_000
"""Maximum number of characters of an error's note, which may contain the traceback of another process."""
MAX_TRACEBACK = 20_000
"""Maximum number of characters of a traceback. The middle of a longer one is left out."""

_INDENT = "    "
_MAX_NOTES = 10


def shown(value: object, limit: int = MAX_TEXT) -> str:
    """Format any value as one line of at most `limit` characters. Errors are formatted with `error_text`.

    Characters that are not printable (control characters, line breaks, text direction marks) are escaped as
    in Python. Never raises.
    """
    if isinstance(value, BaseException):
        return _cut(escaped(error_text(value)), limit)
    text = value if isinstance(value, str) else _safely(str, value)
    return _cut(escaped(text[: limit + 1]), limit)


def shown_repr(value: object, limit: int = MAX_TEXT) -> str:
    """Format the repr of any value like `shown`."""
    return shown(_safely(repr, value[:limit] if isinstance(value, str) else value), limit)


def shown_lines(text: str) -> str:
    """Escape all characters of a text that are not printable, except line breaks."""
    return "\n".join(map(escaped, text.expandtabs(4).split("\n")))


def escaped(text: str) -> str:
    """Escape all characters of a text that are not printable, as in a Python literal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def shown_traceback(error: BaseException) -> str:
    """Format the traceback of an error with its causes and notes, at most MAX_TRACEBACK characters.

    No line can pass for the start of a log record: further lines of messages and notes are indented. Other
    characters that are not printable are escaped. Never raises.
    """
    try:
        formatted = traceback.TracebackException.from_exception(error)
        for part in _parts(formatted):
            _bound(part)
        lines = [line for piece in formatted.format() for line in _lines(piece)]
    except BaseException as failure:  # noqa: BLE001 - methods of the error may raise anything
        return f"(cannot format the traceback: {type(failure).__name__}) {shown(error)}"
    return _without_middle("\n".join(lines))


def _parts(error: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    """The error, its causes and contexts, and the members of exception groups."""
    waiting = [error]
    while waiting:
        part = waiting.pop()
        yield part
        waiting += [one for one in (part.__cause__, part.__context__) if one is not None]
        waiting += getattr(part, "exceptions", None) or []


def _bound(part: traceback.TracebackException) -> None:
    """Shorten the texts of an error before it is formatted, because they may be very large."""
    for name in ("_str", "msg", "text"):
        text = getattr(part, name, None)
        if isinstance(text, str):
            setattr(part, name, _cut(text, MAX_TEXT))
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
    """The lines of a piece of a traceback. Lines after the first are indented if they are not already."""
    first, *further = piece.removesuffix("\n").expandtabs(4).split("\n")
    yield escaped(first)
    for line in further:
        # Only the text between an error and its cause begins with an empty line.
        yield escaped(line if not first or line.startswith("  ") else _INDENT + line)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _without_middle(text: str, limit: int = MAX_TRACEBACK) -> str:
    """Leave out the middle of a long text: a traceback starts with a cause and ends with the error."""
    if len(text) <= limit:
        return text
    left_out = f"\n{_INDENT}… {len(text) - limit} characters left out …\n{_INDENT}"
    room = limit - len(left_out)
    return text[: room // 3] + left_out + text[-(room - room // 3) :]


def _safely(to_text: Callable[[object], str], value: object) -> str:
    try:
        return to_text(value)
    except BaseException as failure:  # noqa: BLE001 - methods of the value may raise anything
        return f"{type(value).__name__} (which cannot be shown: it raised {type(failure).__name__})"
