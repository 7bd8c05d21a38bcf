"""An error as text that can be stored with a task."""

from __future__ import annotations

from asynq.errors import AsynqError

MAX_LENGTH = 10_000
"""Most characters of an error that are kept."""

_SHOWN_MEMBERS = 10


def error_text(error: BaseException) -> str:
    """One readable text for any error: "ValueError: boom", for an AsynqError its sentence.

    Members of an exception group are named; causes are not. Valid UTF-8 without NUL, at most MAX_LENGTH
    characters. Never raises, whatever the error's own `__str__` does.
    """
    text = _described(error).encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    return text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + "…"


def _described(error: BaseException, depth: int = 0) -> str:
    name = type(error).__name__
    try:
        said = str(error)[:MAX_LENGTH]
    except BaseException as failure:  # noqa: BLE001 - a broken __str__ must not hide that the task failed
        return f"{name} (which cannot be shown: its __str__ raised {type(failure).__name__})"
    if isinstance(error, BaseExceptionGroup) and depth < 3:
        members = [_described(member, depth + 1) for member in error.exceptions[:_SHOWN_MEMBERS]]
        more = len(error.exceptions) - _SHOWN_MEMBERS
        return f"{name}: {said} [{'; '.join(members)}{f'; and {more} more' if more > 0 else ''}]"
    if isinstance(error, AsynqError) and said:
        return said
    return f"{name}: {said}" if said else name
