"""Random ids: UUIDs of version 4 as text, created in blocks because a call to the system for each is slow."""

from __future__ import annotations

import os
import threading

BLOCK = 64
"""Ids created at once."""

_VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The digit that names the variant of a UUID, by the random digit in its place: two of its bits are fixed."""


class _Pool(threading.local):
    """The ids that a thread has not used yet."""

    def __init__(self) -> None:
        self.ids: list[str] = []


class _Process:
    """The ids of this process."""

    pool = _Pool()


def random_id() -> str:
    """A new random id. Never the same twice: not in two threads, and not before and after a fork."""
    try:
        return _Process.pool.ids.pop()
    except IndexError:
        newest, *others = _new_block()
        _Process.pool.ids += others
        return newest


def _new_block() -> list[str]:
    digits = os.urandom(16 * BLOCK).hex()
    return [_uuid(digits[start : start + 32]) for start in range(0, len(digits), 32)]


def _uuid(digits: str) -> str:
    """The UUID of version 4 with these hexadecimal digits, of which six bits are not random."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"


def _forget() -> None:
    """A child process must not use the ids that its parent will use: drop those of all threads."""
    _Process.pool = _Pool()


os.register_at_fork(after_in_child=_forget)
