"""The speed of the interpreter, and how it was built: both decide what a worker needs for a task."""

from __future__ import annotations

import sys
import sysconfig
import time
from typing import Final

ROUNDS: Final = 30_000
"""Rounds of one measurement: a few milliseconds."""
ATTEMPTS: Final = 9
"""The fastest of these counts, because others may have waited for a processor."""
P1: Final = "P1"
"""Name of the calibration."""
TITLE: Final = "the interpreter itself: rounds of a call, an attribute, a dict and a list"
FLAGS: Final = ("--enable-optimizations", "--with-lto")
"""Options with which the interpreter may have been configured for speed."""


def interpreter_speed() -> float:
    """Rounds a second."""
    return ROUNDS / min(_seconds() for _ in range(ATTEMPTS))


def interpreter_build() -> str:
    """How the interpreter was configured, and whether it was told to write no bytecode.

    Packagers may optimize in other ways, of which nothing is recorded. P1 shows it. A process that compiles
    what it loads takes up more memory.
    """
    configured = (sysconfig.get_config_var("CONFIG_ARGS") or "").replace("'", "").split()
    flags = [flag for flag in FLAGS if any(given.partition("=")[0] == flag for given in configured)]
    build = f"configured with {' and '.join(flags)}" if flags else f"configured without {FLAGS[0]}"
    return f"{build}, writing no bytecode" if sys.dont_write_bytecode else build


class _Item:
    def __init__(self, value: int) -> None:
        self.value = value

    def added(self, value: int) -> int:
        return self.value + value


def _seconds() -> float:
    item, table = _Item(1), dict[int, list[int]]()
    started = time.perf_counter()
    for number in range(ROUNDS):
        item.value = item.added(number) & 0xFFFF
        table[number & 63] = [number, item.value]
    return time.perf_counter() - started
