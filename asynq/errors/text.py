"""`error_text`: an exception as text that can be stored with a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import AsynqError

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_ERROR_TEXT = 10_000
"""The most characters of an error that are stored."""

_MAX_SHOWN_MEMBERS = 10


def error_text(error: BaseException) -> str:
    """A readable text for any exception: "ValueError: boom"; for an AsynqError its message.

    It includes the members of an exception group, but not causes. The text is valid UTF-8 without NUL, of at
    most MAX_ERROR_TEXT characters. Never raises, whatever the error's own methods do.
    """
    text = _described(error).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= MAX_ERROR_TEXT else text[: MAX_ERROR_TEXT - 1] + "…"


def _described(error: BaseException, depth: int = 0) -> str:
    name = type(error).__name__
    try:
        said = str(error)[:MAX_ERROR_TEXT]
        if isinstance(error, BaseExceptionGroup) and depth < 3:
            return f"{name}: {said} [{_members(error.exceptions, depth + 1)}]"
        ours = isinstance(error, AsynqError)
    except BaseException as failure:  # noqa: BLE001 - a broken error must not hide that the task failed
        return f"{name} (which cannot be shown: it raised {type(failure).__name__})"
    if ours and said:
        return said
    return f"{name}: {said}" if said else name


def _members(errors: Sequence[BaseException], depth: int) -> str:
    members = [_described(member, depth) for member in errors[:_MAX_SHOWN_MEMBERS]]
    more = len(errors) - _MAX_SHOWN_MEMBERS
    return f"{'; '.join(members)}{f'; and {more} more' if more > 0 else ''}"
