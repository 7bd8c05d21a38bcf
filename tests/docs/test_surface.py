"""Periodic tasks, inspection and waiting, in complete programs."""
# ruff: noqa: E501 - so has it their lines

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import asynq
from tests.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

"""Seconds after which something that should happen counts as not happening."""
IMPORTS = """\
import sys
from datetime import timedelta
from zoneinfo import ZoneInfo

import asynq

URL = sys.argv[1]
task = asynq.Task("email:deliver", {"user_id": 42, "template_id": "welcome"})
"""
SCHEDULER = """\
scheduler = asynq.Scheduler(URL, location=ZoneInfo("Europe/Berlin"))
entry_id = scheduler.register("*/5 * * * *", task, queue="low")    # 5 fields, @hourly..., "@every 30s", CRON_TZ=
scheduler.run()
"""
MANAGER = """\
def read_yaml():
    return [asynq.PeriodicTaskConfig("*/5 * * * *", task, queue="low")]

asynq.PeriodicTaskManager(URL, config_provider=read_yaml, sync_interval=timedelta(minutes=3)).run()
"""
WORKER = """\
mux = asynq.ServeMux()

@mux.handler("email:deliver")
def deliver(ctx, task):
    return b"delivered to %d" % task.json()["user_id"]

server = asynq.Server(URL)
server.run(mux)
"""
WAITING = """\
client = asynq.Client(URL)
info = client.enqueue(task, retention=timedelta(minutes=5))
result = client.wait(info, timeout=timedelta(seconds=30))   # bytes; TaskFailedError carries the last error; no polling loop
assert result == b"delivered to 42"
client.close()
"""
INSPECTING = """\
with asynq.Client(URL) as client:
    task_id = client.enqueue(task, process_in=timedelta(hours=1)).id
    entry_id = "none"

with asynq.Inspector(URL) as inspector:
    inspector.queues(); inspector.queue_info("default")    # sizes by state, latency, memory, processed/failed, paused
    for t in inspector.tasks("default", state="retry"): ... # iterates over all pages
    inspector.task("default", task_id)
    inspector.run_task("default", task_id); inspector.archive_task("default", task_id); inspector.delete_task("default", task_id)
    inspector.run_all("default", "archived"); inspector.archive_all("default", "retry"); inspector.delete_all("default", "archived")
    inspector.pause("default"); inspector.unpause("default"); inspector.purge("default"); inspector.delete_queue("default", force=False)
    task_id = asynq.Client(URL).enqueue(task).id
    inspector.update_payload("default", task_id, b"...")
    inspector.cancel(task_id, queue=None, then="archive"); inspector.servers(); inspector.scheduler_entries(); inspector.enqueue_events(entry_id); inspector.history("default", days=30)
"""


@contextmanager
def program(block: str, url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run the program of this block. It is killed at the end if it still runs."""
    path = folder / "program.py"
    path.write_text(IMPORTS + block)
    with subprocess.Popen([sys.executable, path, url]) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("block", [SCHEDULER, MANAGER], ids=["scheduler", "manager"])
def test_a_program_with_periodic_tasks_runs_until_it_is_stopped(
    block: str, shared_url: str, tmp_path: Path
) -> None:
    with program(block, shared_url, tmp_path) as process, asynq.Inspector(shared_url) as inspector:
        eventually(inspector.scheduler_entries)
        [entry] = inspector.scheduler_entries()
        assert (entry.spec, entry.task_type, entry.options) == (
            "*/5 * * * *",
            "email:deliver",
            ('Queue("low")',),
        )
        process.terminate()
        assert process.wait(PATIENCE) == 0
        assert inspector.scheduler_entries() == ()


def test_a_program_waits_for_the_result_of_a_task(shared_url: str, tmp_path: Path) -> None:
    (tmp_path / "worker").mkdir()
    with (
        program(WORKER, shared_url, tmp_path / "worker") as worker,
        asynq.Inspector(shared_url) as inspector,
    ):
        eventually(inspector.servers)
        with program(WAITING, shared_url, tmp_path) as process:
            assert process.wait(PATIENCE) == 0
        worker.terminate()
        assert worker.wait(PATIENCE) == 0


def test_a_program_inspects_every_kind_of_data(shared_url: str, tmp_path: Path) -> None:
    with program(INSPECTING, shared_url, tmp_path) as process:
        assert process.wait(PATIENCE) == 0
