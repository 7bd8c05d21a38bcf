"""Whether a process does anything: what a worker and its lease keeper ask about each other."""

from __future__ import annotations

from pathlib import Path

_IDLE = (b"T", b"t", b"Z", b"X")
"""What /proc says of processes that are stopped (SIGSTOP, a debugger) or have ended."""


def is_running(pid: int) -> bool:
    """False while the process is stopped, and once it has ended, also before its parent has noticed.

    True where there is no /proc: nothing can be told there.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return stat.rpartition(b")")[2].split()[0] not in _IDLE
