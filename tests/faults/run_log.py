"""The log that handlers write, and its evaluation."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path


RUN_LOG = "FAULTS_RUN_LOG"
"""Environment variable: the file that handlers write to."""


class Note(NamedTuple):
    """One line of the run log."""

    task_id: str
    what: Literal["begin", "end", "cancelled"]
    pid: int
    at: float


class RunLog:
    """The run log, read while it grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.notes: list[Note] = []
        self._position = 0
        self.ended = 0
        """Number of runs that had ended at the last `read`."""
        self._open: dict[int, set[str]] = defaultdict(set)

    def read(self) -> RunLog:
        """Read new lines."""
        with self.path.open("rb") as log:
            log.seek(self._position)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                self._take(line.decode())
        return self

    def _take(self, line: str) -> None:
        task_id, what, pid, at = line.split()
        note = Note(task_id, what, int(pid), float(at))  # type: ignore[arg-type]
        self.notes.append(note)
        if what == "begin":
            self._open[note.pid].add(task_id)
        else:
            self._open[note.pid].discard(task_id)
            self.ended += what == "end"

    def running(self, pid: int) -> int:
        """Number of unfinished runs of a process."""
        return len(self._open[pid])

    def of_process(self, pid: int) -> int:
        """Number of notes of a process."""
        return sum(note.pid == pid for note in self.notes)

    def of(self, task_id: str) -> list[tuple[str, int]]:
        """The notes about a task: (event, process id)."""
        return [(note.what, note.pid) for note in self.read().notes if note.task_id == task_id]

    def seconds(self, task_id: str) -> float:
        """Duration of the task's first completed run."""
        begun = next(note.at for note in self.notes if note.task_id == task_id and note.what == "begin")
        return next(note.at for note in self.notes if note.task_id == task_id and note.what == "end") - begun


class Tally(NamedTuple):
    """Counts over the runs of many tasks."""

    never_ended: list[str]
    """Ids of tasks without a completed run."""
    unexplained: list[str]
    """Ids of tasks that were started again although the process of an earlier run was not killed."""
    runs: int
    repeated: int
    """Number of runs beyond the first of their task."""


def tally(notes: Iterable[Note], task_ids: Collection[str], killed: Collection[int]) -> Tally:
    """Evaluate the runs of these tasks, given the killed processes."""
    begun: dict[str, list[int]] = defaultdict(list)
    ended = Counter[str]()
    for note in notes:
        if note.what == "begin":
            begun[note.task_id].append(note.pid)
        elif note.what == "end":
            ended[note.task_id] += 1
    return Tally(
        never_ended=[task_id for task_id in task_ids if not ended[task_id]],
        unexplained=[task_id for task_id, pids in begun.items() if set(pids[:-1]) - set(killed)],
        runs=sum(map(len, begun.values())),
        repeated=sum(len(pids) - 1 for pids in begun.values()),
    )
