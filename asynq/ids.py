"""Random ids: UUIDs of version 7 as text, created in blocks because a call to the system for each is slow.

They begin with the time, so that those of new tasks are neighbours in an index of ids.
"""

from __future__ import annotations

import os
import threading
import time

BLOCK = 256
"""Ids created at once."""

_LENGTH = 36
_PLACES = (19, 20, 21, 22, *range(24, _LENGTH))
"""The places of the 16 random digits in the text of a UUID."""
_VARIANT = 19
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
"""The digit that names the variant of a UUID, by the random digit in its place: two of its bits are fixed."""
_NUMBERED = "".join(
    f"tttttttt-tttt-7{number:03x}-rrrr-rrrrrrrrrrrr" for number in reversed(range(BLOCK))
).encode()
"""A block without time and random digits. The last id is used first and has the smallest number."""


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
        *others, first = _new_block()
        _Process.pool.ids += others
        return first


def _new_block() -> list[str]:
    """UUIDs of version 7, one behind the other in one text: each step writes one digit of all of them."""
    now = f"{time.time_ns() // 1_000_000:012x}"
    text = bytearray(_NUMBERED.replace(b"tttttttt-tttt", f"{now[:8]}-{now[8:]}".encode()))
    digits = os.urandom(len(_PLACES) // 2 * BLOCK).hex().encode()
    for number, place in enumerate(_PLACES):
        text[place::_LENGTH] = digits[number :: len(_PLACES)]
    text[_VARIANT::_LENGTH] = text[_VARIANT::_LENGTH].translate(_VARIANTS)
    ids = text.decode()
    return [ids[start : start + _LENGTH] for start in range(0, len(ids), _LENGTH)]


def _forget() -> None:
    """A child process must not use the ids that its parent will use: drop those of all threads."""
    _Process.pool = _Pool()


os.register_at_fork(after_in_child=_forget)
