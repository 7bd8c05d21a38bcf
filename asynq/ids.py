"""Random ids: UUIDs of version 4 as text, created in blocks because a call to the system for each is slow."""

from __future__ import annotations

import os
import threading

BLOCK = 256
"""Ids created at once."""

_LENGTH = 36
_PLACES = tuple(place for place in range(_LENGTH) if place not in (8, 13, 18, 23))
"""The places of the 32 digits in the text of a UUID. Between them are dashes."""
_VERSION, _VARIANT = 14, 19
_VARIANTS = bytes.maketrans(b"0123456789abcdef", b"89ab" * 4)
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
    """UUIDs of version 4, one behind the other in one text: each step writes one digit of all of them."""
    digits = os.urandom(16 * BLOCK).hex().encode()
    text = bytearray(b"-" * (_LENGTH * BLOCK))
    for number, place in enumerate(_PLACES):
        text[place::_LENGTH] = digits[number::32]
    text[_VERSION::_LENGTH] = b"4" * BLOCK
    text[_VARIANT::_LENGTH] = text[_VARIANT::_LENGTH].translate(_VARIANTS)
    ids = text.decode()
    return [ids[start : start + _LENGTH] for start in range(0, len(ids), _LENGTH)]


def _forget() -> None:
    """A child process must not use the ids that its parent will use: drop those of all threads."""
    _Process.pool = _Pool()


os.register_at_fork(after_in_child=_forget)
