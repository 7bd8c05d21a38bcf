"""Workers killed one after the other while many tasks flow: nothing is lost, nothing is left lying."""

from __future__ import annotations

import random
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import AsynqError, Client, Task
from asynq.protocol.ops import GetQueueStats
from tests.faults.processes import PATIENCE
from tests.faults.run_log import tally
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Site
    from tests.faults.processes import Workers

KILLS = 20
BATCH = 1000
"""Tasks enqueued before each kill, which comes when half of them are still to be done."""
TASKS = KILLS * BATCH
WORKERS = 3
CONCURRENCY = 25
KEEP_EACH = 4
"""One task of so many is kept when it is completed."""
KEPT = timedelta(hours=1)


def a_task(number: int, rng: random.Random) -> Task:
    """Of several kinds: in the loop or in a thread, to be deleted or kept when it is done."""
    task = Task("thread" if number % 20 == 0 else "sleep", f"{rng.uniform(0, 0.03):.4f}")
    return Task(task.type, task.payload, retention=KEPT) if number % KEEP_EACH == 0 else task


@pytest.mark.timeout(1200)
def test_every_task_completes_and_only_those_of_killed_workers_run_twice(
    site: Site, workers: Workers, report: Callable[..., None]
) -> None:
    rng, began = random.Random(7), time.monotonic()
    client = Client(site.url)
    crew = [workers.start(concurrency=CONCURRENCY) for _ in range(WORKERS)]
    killed: list[int] = []
    ids: list[str] = []
    in_hand = 0
    for _ in range(KILLS):
        for info in client.enqueue_many([a_task(number, rng) for number in range(BATCH)]):
            assert not isinstance(info, AsynqError)
            ids.append(info.id)
        eventually(lambda: workers.runs.read().ended >= len(ids) - BATCH // 2, PATIENCE)
        victim = max(crew, key=lambda worker: workers.runs.read().running(worker.pid))
        victim.kill()
        in_hand += workers.runs.read().running(victim.pid)
        killed.append(victim.pid)
        crew[crew.index(victim)] = workers.start(concurrency=CONCURRENCY)

    def left() -> int:
        stats = site.broker.execute(GetQueueStats(queue="default"))
        return stats.size - stats.completed - stats.archived

    eventually(lambda: left() == 0, PATIENCE)
    seconds = time.monotonic() - began
    # One that has not begun to work yet may die of the signal: it has nothing in hand.
    assert {worker.terminate() for worker in crew} <= {0, -signal.SIGTERM}

    contents = site.contents()
    stats = site.broker.execute(GetQueueStats(queue="default"))
    found = tally(workers.runs.read().notes, ids, killed)
    report(
        tasks=len(set(ids)),
        workers_killed=len(killed),
        runs_they_had_in_hand=in_hand,
        runs=found.runs,
        begun_again=found.repeated,
        never_ended=len(found.never_ended),
        begun_again_without_a_reason=len(found.unexplained),
        seconds=round(seconds, 1),
    )
    client.close()

    assert (found.never_ended, found.unexplained) == ([], [])
    assert (contents.contradictions(), contents.states()) == ([], {"completed"})
    assert len(contents.places) == TASKS // KEEP_EACH
    # Every task was settled as done or completed exactly once, however often it was begun.
    assert stats.processed_total - stats.failed_total == TASKS
    assert in_hand >= KILLS
