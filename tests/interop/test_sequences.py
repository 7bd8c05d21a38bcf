"""Sequences in a mixed fleet: Go workers, which know nothing of them, take and end tasks of sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq import Task
from asynq.protocol.sequences import SEQUENCE_HEADER
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide

TASKS = 4
ADVANCED_WITHIN = 120.0
"""Seconds for all tasks: after each task of a Go worker, upkeep comes after about five, at first thirty."""


def test_go_workers_run_the_tasks_of_a_sequence_in_order(go: GoSide, python: PythonSide) -> None:
    names = ("x", "y")
    for number in range(TASKS):
        for name in names:
            python.client.enqueue(Task("nap", b"", sequence=name), task_id=f"{name}{number}")
    waiting = [task.id for task in go.tasks("default", "scheduled")]
    assert sorted(waiting) == sorted(f"{name}{number}" for name in names for number in range(1, TASKS))
    workers = [go.worker(concurrency=10), python.worker(concurrency=10), go.worker(concurrency=10)]
    eventually(lambda: python.queue("default")["size"] == 0, ADVANCED_WITHIN)
    runs = sorted((run.at, run.task) for worker in workers for run in worker.runs())
    for name in names:
        assert [task for _, task in runs if task.startswith(name)] == [f"{name}{n}" for n in range(TASKS)]
    assert {run.headers[SEQUENCE_HEADER] for worker in workers for run in worker.runs()} == set(names)


def test_the_task_behind_one_that_go_archived_runs(go: GoSide, python: PythonSide) -> None:
    for task_id, kind in (("a", "skip"), ("b", "ok")):
        python.client.enqueue(Task(kind, b"", sequence="s"), task_id=task_id)
    worker = go.worker()
    eventually(lambda: python.task("default", "a").state == "archived")
    assert python.task("default", "b").state == "scheduled"
    helper = python.worker()
    eventually(lambda: worker.runs("b") or helper.runs("b"), ADVANCED_WITHIN)
