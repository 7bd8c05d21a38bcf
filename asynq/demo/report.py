"""The result of the demo: task counts, as reported by the broker and not by the workers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import asdict, frozen

from asynq.protocol.ops import ListTasks
from asynq.task_state import TaskState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path
    from typing import Any

    from asynq.protocol.broker import Broker

_PAGE = 500


@frozen(kw_only=True)
class TaskCounts:
    """Counts of one kind of task."""

    enqueued: int
    completed: int
    """Tasks the broker shows as completed, with their result."""
    run_more_than_once: int
    """Tasks with more than one started run."""

    @property
    def lost(self) -> int:
        """Number of tasks that did not complete."""
        return self.enqueued - self.completed

    def __add__(self, other: TaskCounts) -> TaskCounts:
        return TaskCounts(
            enqueued=self.enqueued + other.enqueued,
            completed=self.completed + other.completed,
            run_more_than_once=self.run_more_than_once + other.run_more_than_once,
        )


@frozen(kw_only=True)
class DemoReport:
    """The result of the demo."""

    broker: str
    directory: str
    files: int
    processes: int
    killed: tuple[int, ...]
    """Process ids of the workers that were killed."""
    seconds: float
    """From the first enqueue to the last completion."""
    tallies: Mapping[str, TaskCounts]
    """By kind of task."""

    @property
    def total(self) -> TaskCounts:
        """The sum of all kinds."""
        return sum(self.tallies.values(), TaskCounts(enqueued=0, completed=0, run_more_than_once=0))

    def per_second(self, tally: TaskCounts) -> float:
        """Completed tasks per second."""
        return tally.completed / self.seconds if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """The report as JSON data."""
        numbers = {
            kind: {**asdict(tally), "lost": tally.lost, "per_second": round(self.per_second(tally), 1)}
            for kind, tally in {**self.tallies, "total": self.total}.items()
        }
        return {
            "broker": self.broker,
            "directory": self.directory,
            "files": self.files,
            "processes": self.processes,
            "killed": list(self.killed),
            "seconds": round(self.seconds, 3),
            "tasks": numbers,
        }


def runs_begun(run_log: Path) -> Counter[str]:
    """Count the started runs of each task."""
    return Counter(line.split()[0] for line in run_log.read_text().splitlines())


def last_to_begin(run_log: Path, pids: Collection[int]) -> int | None:
    """The process, among these, that started the latest run. None if none of them has started a run."""
    begun = (int(line.split()[1]) for line in reversed(run_log.read_text().splitlines()))
    return next((pid for pid in begun if pid in pids), None)


async def tally(broker: Broker, queue: str, task_ids: Collection[str], runs: Mapping[str, int]) -> TaskCounts:
    """Count the tasks of one queue. Completed tasks are listed by the broker, runs come from `runs_begun`."""
    completed: set[str] = set()
    offset = 0
    while page := await broker.aexecute(
        ListTasks(queue=queue, state=TaskState.COMPLETED, offset=offset, limit=_PAGE)
    ):
        completed.update(task.message.id for task in page if task.result is not None)
        offset += _PAGE
    wanted = set(task_ids)
    return TaskCounts(
        enqueued=len(task_ids),
        completed=len(completed & wanted),
        run_more_than_once=sum(1 for task_id in wanted if runs.get(task_id, 0) > 1),
    )
