"""Aggregators killed with tasks in hand: each task is part of one aggregate all the same, and of one only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Inspector, Task
from tests.faults.processes import PATIENCE, Started
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Site

# A set whose holder died is free after two minutes: here sooner.
PROGRAM = """
import os, pathlib, sys, threading
from datetime import timedelta
import asynq, asynq.worker.worker
from asynq.worker.loops import aggregator as loop

loop.SET_HOLD, loop.CHECK_INTERVAL, asynq.worker.worker.RECLAIM_INTERVAL = 1500, 0.2, 0.5


def merge(group, tasks):
    print("took", os.getpid(), flush=True)
    if (pathlib.Path(sys.argv[2]) / f"victim-{os.getpid()}").exists():
        threading.Event().wait()
    return asynq.Task("merged", [int(task.payload) for task in tasks], process_in=timedelta(hours=1))


server = asynq.Server(
    sys.argv[1], aggregator=merge, group_grace_period=timedelta(seconds=1), group_max_size=5, concurrency=1
)
server.run(asynq.ServeMux())
"""
AGGREGATORS = 2
KILLS = 3
BATCH = 30
GROUPS = 4


@pytest.mark.timeout(300)
def test_each_task_is_aggregated_once_despite_killed_aggregators(
    site: Site, tmp_path: Path, report: Callable[..., None]
) -> None:
    client, output, enqueued = Client(site.url), tmp_path / "output", 0

    def start() -> Started:
        return Started(["-c", PROGRAM, site.url, str(tmp_path)], output)

    def taken(process: Started) -> int:
        return process.printed.count(f"took {process.pid}")

    crew = [start() for _ in range(AGGREGATORS)]
    try:
        for kill in range(KILLS):
            victim = crew[kill % AGGREGATORS]
            (tmp_path / f"victim-{victim.pid}").touch()
            parts = [
                Task("part", str(enqueued + number), group=f"g{number % GROUPS}") for number in range(BATCH)
            ]
            client.enqueue_many(parts)
            enqueued += BATCH
            before = taken(victim)
            # The others may have taken all of it: then there is more.
            eventually(lambda: taken(victim) > before or site_is_idle(site), PATIENCE)  # noqa: B023
            victim.kill()
            crew[kill % AGGREGATORS] = start()
        eventually(lambda: site_is_idle(site), PATIENCE)
    finally:
        for process in crew:
            process.kill()
    with Inspector(site.url) as inspector:
        merged = list(inspector.tasks("default", "scheduled"))
    merged_parts = Counter(number for task in merged for number in Task(task.type, task.payload).json())
    took = sum(line.startswith("took") for line in output.read_text().splitlines())
    report(tasks=enqueued, aggregates=len(merged), begun=took, killed=KILLS)
    client.close()
    assert merged_parts == Counter(range(enqueued))
    assert took > len(merged)  # some were killed with a set in hand


def site_is_idle(site: Site) -> bool:
    """Whether all that was enqueued has become aggregates."""
    with Inspector(site.url) as inspector:
        return inspector.queue_info("default").aggregating == 0
