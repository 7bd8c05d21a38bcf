"""CPU time and memory of processes, as Linux reports them under /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def descendants(pid: int) -> list[int]:
    """The running children of a process, and theirs. Empty on systems without /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        if fields := _fields(stat):
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found = list(children.get(pid, ()))
    for child in found:
        found += children.get(child, ())
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process, without its children. 0 if it has ended."""
    return _seconds(pid, 11, 12)


def _seconds(pid: int, *places: int) -> float:
    """The sum of these fields of the stat file of a process."""
    fields = _fields(Path("/proc", str(pid), "stat"))
    return sum(int(fields[place]) for place in places) / _TICK if fields else 0.0


def _fields(stat: Path) -> list[str]:
    """The fields of a stat file after the name of the program. None of a process that has ended."""
    try:
        return stat.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def helpers_cpu_seconds(pid: int) -> float:
    """CPU time of the helper processes of a process, such as the lease keeper: also of those that ended."""
    return sum(map(cpu_seconds, descendants(pid))) + _seconds(pid, 13, 14)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process and its helper processes (RSS). Pages that they share count in each."""
    return sum(_memory(process, "Rss:") for process in (pid, *descendants(pid)))


def proportional_bytes(pid: int) -> int:
    """Memory of a process and its helper processes (PSS). A page that several processes share counts once.

    It counts in equal parts in each of these processes, also in those that are not among the helpers.
    """
    return sum(_memory(process, "Pss:") for process in (pid, *descendants(pid)))


def _memory(pid: int, name: str) -> int:
    try:
        lines = Path("/proc", str(pid), "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(name)), 0)
