"""Workers told to end while they are busy: what is short finishes, what is long goes back."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from asynq import Client, Task, TaskInfo, TaskState
from asynq.protocol.ops import GetQueueStats, ListTasks
from tests.faults.processes import PATIENCE
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.conftest import Site
    from tests.faults.processes import Started, Workers

CONCURRENCY = 8
LONG = 4
"""Tasks that take longer than any shutdown waits; each of them occupies one place."""
SHORT = 3000


def copies(supervisor: Started) -> list[int]:
    """The worker processes of a supervisor."""
    children = psutil.Process(supervisor.pid).children()
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


def enqueued(client: Client, count: int) -> list[str]:
    """So many short tasks; their ids."""
    infos = client.enqueue_many([Task("sleep", "0.02")] * count)
    return [info.id for info in infos if isinstance(info, TaskInfo)]


@pytest.mark.timeout(180)
def test_sigterm_under_load_finishes_short_tasks_and_requeues_long_ones(
    site: Site, workers: Workers, report: Callable[..., None]
) -> None:
    with Client(site.url) as client:
        long = [client.enqueue(Task("sleep", "600")).id for _ in range(LONG)]
        short = enqueued(client, SHORT)
    options = ("--concurrency", f"{CONCURRENCY}", "--shutdown-timeout", "1s", "--processes", "2")
    supervisor = workers.command(*options)
    eventually(lambda: workers.runs.read().ended > SHORT // 10 and all(map(workers.runs.of, long)), PATIENCE)
    pids = copies(supervisor)
    assert supervisor.terminate() == 0
    assert not [pid for pid in pids if psutil.pid_exists(pid)]

    notes = workers.runs.read().notes
    begun = {note.task_id for note in notes if note.what == "begin"}
    ended = {note.task_id for note in notes if note.what == "end"}
    cancelled = {note.task_id for note in notes if note.what == "cancelled"}
    contents = site.contents()
    stats = site.broker.execute(GetQueueStats(queue="default"))
    head = site.broker.execute(ListTasks(queue="default", state=TaskState.PENDING, limit=LONG))
    report(finished=len(ended), given_back=len(cancelled), left=len(contents.places))
    assert cancelled == set(long) == begun - ended
    assert contents.contradictions() == []
    assert contents.states() == {"pending"}
    assert contents.places.keys() == {*long, *short} - ended
    assert (stats.processed_total, stats.failed_total) == (len(ended), 0)
    assert {task.message.id for task in head} == set(long)
    assert [(task.message.retried, task.message.error) for task in head] == [(0, "")] * LONG


@pytest.mark.timeout(180)
def test_a_supervisor_replaces_a_killed_worker_without_losing_a_task(
    site: Site, workers: Workers, report: Callable[..., None]
) -> None:
    supervisor = workers.command("--concurrency", f"{CONCURRENCY}", "--lease", "1s", "--processes", "2")
    with Client(site.url) as client:
        ids = enqueued(client, SHORT)
        eventually(lambda: len({note.pid for note in workers.runs.read().notes}) == 2)
        victim, survivor = copies(supervisor)
        os.kill(victim, signal.SIGKILL)
        eventually(lambda: victim not in copies(supervisor) and len(copies(supervisor)) == 2)
        [replacement] = set(copies(supervisor)) - {survivor}
        eventually(lambda: workers.runs.read().ended >= SHORT // 2, PATIENCE)
        more = enqueued(client, SHORT)
        eventually(lambda: replacement in {note.pid for note in workers.runs.read().notes})
    eventually(lambda: not site.size(), PATIENCE)
    assert supervisor.terminate() == 0
    notes = workers.runs.read().notes
    ended = {note.task_id for note in notes if note.what == "end"}
    report(
        runs_by_process={pid: workers.runs.of_process(pid) // 2 for pid in (victim, survivor, replacement)}
    )
    assert ended == {*ids, *more}
