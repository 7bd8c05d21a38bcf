"""Workers that hold everything up keep their tasks; workers that are stopped lose them, for good."""

from __future__ import annotations

import signal
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Task, TaskState
from asynq.protocol.ops import GetTask
from tests.faults.processes import PATIENCE
from tests.stopping import stop
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import Site
    from tests.faults.processes import Workers

LEASE = 2.0
HELD = 6.0
"""Seconds: several leases."""
KEPT = timedelta(hours=1)


@pytest.mark.parametrize("kind", ["block", "regex", "power"])
def test_a_handler_that_blocks_the_loop_or_the_gil_for_several_leases_runs_once(
    kind: str, site: Site, workers: Workers, report: Callable[..., None]
) -> None:
    options = ("--lease", f"{LEASE:g}s", "--concurrency", "2")
    holder = workers.command(*options)
    with Client(site.url) as client:
        first = client.enqueue(Task("sleep", "0.5")).id
        eventually(lambda: ("end", holder.pid) in workers.runs.of(first))
        task_id = client.enqueue(Task(kind, f"{HELD}")).id
        eventually(lambda: workers.runs.of(task_id))
        rival = workers.command(*options)
        others = [client.enqueue(Task("sleep", "0")).id for _ in range(20)]
        eventually(lambda: all(workers.runs.of(other) for other in others))
        eventually(lambda: not site.size(), PATIENCE)
    assert workers.runs.of(task_id) == [("begin", holder.pid), ("end", holder.pid)]
    assert {pid for other in others for _, pid in workers.runs.of(other)} <= {holder.pid, rival.pid}
    report(held_for=round(workers.runs.seconds(task_id), 1), lease=LEASE)
    assert workers.runs.seconds(task_id) > 2 * LEASE


SLOW_KEEPER = """
import os, sys, time
os.register_at_fork(after_in_child=lambda: time.sleep(3))
if "asynq.worker.leases.keeper_main" in sys.orig_argv:
    time.sleep(3)
"""


LONG_LEASE = 10.0
"""Seconds. A worker with this lease starts tasks before its lease keeper is ready."""


@pytest.mark.parametrize("seconds", [(LEASE, HELD), (LONG_LEASE, 1.5 * LONG_LEASE)])
@pytest.mark.parametrize("site", ["redis"], indirect=True)
def test_a_handler_that_blocks_the_gil_keeps_its_task_in_a_new_worker(
    seconds: tuple[float, float],
    site: Site,
    workers: Workers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lease, held = seconds
    # Python runs a module of this name first of all.
    (tmp_path / "sitecustomize.py").write_text(SLOW_KEEPER)
    monkeypatch.syspath_prepend(tmp_path)
    options = ("--lease", f"{lease:g}s", "--concurrency", "1")
    with Client(site.url) as client:
        task_id = client.enqueue(Task("power", f"{held}")).id
        holder = workers.command(*options)
        eventually(lambda: workers.runs.of(task_id))
        workers.command(*options)
        eventually(lambda: ("end", holder.pid) in workers.runs.of(task_id), PATIENCE)
        eventually(lambda: not site.size(), PATIENCE)
    assert workers.runs.of(task_id) == [("begin", holder.pid), ("end", holder.pid)]


def test_tasks_of_a_stopped_worker_run_elsewhere_and_its_own_runs_change_nothing(
    site: Site, workers: Workers
) -> None:
    stopped = workers.start(lease=LEASE)
    with Client(site.url) as client:
        task_id = client.enqueue(Task("linger", "600"), retention=KEPT).id
        eventually(lambda: workers.runs.of(task_id))
        stop(stopped.pid, site.url)
        other = workers.start(lease=LEASE)
        eventually(lambda: ("end", other.pid) in workers.runs.of(task_id))
        assert other.terminate() == 0
        completed = site.broker.execute(GetTask(queue="default", task_id=task_id))
        stopped.send(signal.SIGCONT)
        eventually(lambda: ("cancelled", stopped.pid) in workers.runs.of(task_id))
        # It works again: with what comes now, and only with that.
        later = client.enqueue(Task("sleep", "0")).id
        eventually(lambda: ("end", stopped.pid) in workers.runs.of(later))
    assert stopped.terminate() == 0
    assert workers.runs.of(task_id) == [
        ("begin", stopped.pid),
        ("begin", other.pid),
        ("end", other.pid),
        ("cancelled", stopped.pid),
    ]
    assert site.broker.execute(GetTask(queue="default", task_id=task_id)) == completed
    assert (completed.state, completed.message.retried) == (TaskState.COMPLETED, 1)
    assert [line for line in stopped.printed if f"{stopped.pid} " in line and "the lease is lost" in line]
