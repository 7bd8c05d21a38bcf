"""Workers of both languages drain one queue, while one of each is killed."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from asynq import AsynqError, Task
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide

TASKS = 20_000
CONCURRENCY = 10
DRAINED_WITHIN = 240.0
"""Seconds. The tasks that killed workers had in hand come back after at most two minutes."""


@pytest.mark.slow
def test_a_mixed_fleet_loses_no_task_when_workers_are_killed(
    go: GoSide, python: PythonSide, report: Callable[..., None]
) -> None:
    ids = [go.enqueue("nap", b"x").id for _ in range(TASKS // 2)]
    for info in python.client.enqueue_many([Task("nap", b"x")] * (TASKS // 2)):
        assert not isinstance(info, AsynqError)
        ids.append(info.id)

    began = time.monotonic()
    crew = [side.worker(concurrency=CONCURRENCY) for side in (go, go, python, python)]
    everyone = list(crew)

    def run() -> int:
        return sum(len(worker.runs()) for worker in everyone)

    for position, side, share in ((0, go, 0.25), (2, python, 0.5)):
        eventually(lambda share=share: run() >= TASKS * share, DRAINED_WITHIN)  # type: ignore[misc]
        crew[position].kill()
        crew[position] = side.worker(concurrency=CONCURRENCY)
        everyone.append(crew[position])
    eventually(
        lambda: python.queue("default")["size"] == 0, DRAINED_WITHIN, explain=lambda: python.queue("default")
    )

    runs = Counter(event.task for worker in everyone for event in worker.runs())
    report(
        tasks=len(ids),
        runs=runs.total(),
        run_more_than_once=sum(count > 1 for count in runs.values()),
        seconds=round(time.monotonic() - began, 1),
        runs_of_each_worker=[len(worker.runs()) for worker in everyone],
    )
    assert len(set(ids)) == TASKS
    assert set(ids) == set(runs)
    # A killed worker has at most as many tasks in hand as it runs at once.
    assert runs.total() - TASKS <= 2 * CONCURRENCY
    for side in (go, python):
        numbers = side.queue("default")
        assert [numbers[name] for name in ("size", "archived", "retry")] == [0, 0, 0]
    for worker in crew:
        worker.close()
