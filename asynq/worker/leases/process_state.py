"""Whether a process is running, stopped or ended. A worker and its lease keeper check each other."""

from __future__ import annotations

from pathlib import Path

_IDLE = (b"T", b"t", b"Z", b"X")
"""States in /proc of processes that are stopped (SIGSTOP, a debugger) or have ended."""


def is_running(pid: int) -> bool:
    """Whether a process is running: neither stopped nor ended, even if its parent has not reaped it yet.

    Returns True on systems without /proc, where this cannot be determined.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] not in _IDLE
