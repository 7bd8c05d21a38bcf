from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from asynq import Client, MemoryBroker, Task
from asynq.cli.demo import _print_tail
from asynq.demo.display import print_table
from asynq.demo.report import DemoReport, TaskCounts, last_to_begin, runs_begun, tally
from asynq.demo.run import readable_files
from asynq.demo.tasks import read
from asynq.protocol.ops import Complete, Dequeue

if TYPE_CHECKING:
    import pytest

    from tests.servers import RedisServer


def test_the_demo_loses_no_task_although_a_worker_is_killed() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "demo", "--limit", "300", "--json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    total = report["tasks"]["total"]
    assert (total["enqueued"], total["completed"], total["lost"]) == (600, 600, 0)
    assert len(report["killed"]) == 1
    assert "\x1b" not in ended.stderr


def test_files_and_folders_may_have_any_name(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/[/bold] {}: caf\xe9"
    os.makedirs(folder)  # noqa: PTH103 - no Path is of bytes
    for name in (b"not \xff UTF-8", "emoji 😀".encode(), b"two\nlines", b"[red]"):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"\0 \xff")
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "demo", folder], check=False, capture_output=True, timeout=90
    )
    assert ended.returncode == 0, ended.stderr
    assert b"4 files of" in ended.stdout


def test_the_demo_leaves_no_data_in_the_store(redis_server: RedisServer) -> None:
    command = [sys.executable, "-m", "asynq", "demo", "--limit", "20", "--broker", redis_server.url]
    subprocess.run(command, check=True, capture_output=True, timeout=90)
    assert set(redis_server.client.smembers("asynq:queues")) == set()
    assert [key for key in redis_server.client.scan_iter("asynq:{demo-*") if b":py:" not in key] == []


def test_an_interrupted_demo_leaves_no_worker_behind() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "asynq", "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while "killed with SIGKILL" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        # The workers have the demo's stdout: it ends when the last of them has.
        process.communicate(timeout=30)
        assert process.returncode == 130


def test_a_directory_without_files_is_refused(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "demo", str(tmp_path)], check=False, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert "no readable file" in ended.stderr


async def test_only_completed_tasks_with_a_result_count() -> None:
    broker = MemoryBroker()
    client = Client(broker)
    ids = [client.enqueue(Task("t"), task_id=str(n)).id for n in range(4)]
    first, second, _ = broker.execute(Dequeue(orders=(("default",),) * 3, token="a", lease=9000))
    broker.execute(Complete(delivery=first, result=b"done"))
    broker.execute(Complete(delivery=second))
    counted = await tally(broker, "default", ids, {"0": 1, "1": 2, "other": 5})
    assert counted == TaskCounts(enqueued=4, completed=1, run_more_than_once=1)
    assert counted.lost == 3


def test_runs_are_counted_by_the_lines_of_the_run_log(tmp_path: Path) -> None:
    log = tmp_path / "runs.log"
    log.write_text("a 1\nb 1\na 2\n")
    assert runs_begun(log) == {"a": 2, "b": 1}


def test_the_worker_to_kill_is_the_last_that_started_a_run(tmp_path: Path) -> None:
    log = tmp_path / "runs.log"
    log.write_text("a 1\nb 2\nc 3\n")
    assert [last_to_begin(log, pids) for pids in ([1, 2, 3], [1, 2], [4])] == [3, 2, None]


def test_a_missing_file_counts_as_empty(tmp_path: Path) -> None:
    assert read(Task("t", os.fsencode(tmp_path / "gone"))) == b""


def test_the_totals_of_a_report_match() -> None:
    report = DemoReport(
        broker="b",
        directory="d",
        files=2,
        processes=2,
        killed=(),
        seconds=2.0,
        tallies={
            "x": TaskCounts(enqueued=2, completed=2, run_more_than_once=1),
            "y": TaskCounts(enqueued=2, completed=1, run_more_than_once=0),
        },
    )
    assert report.total == TaskCounts(enqueued=4, completed=3, run_more_than_once=1)
    assert report.as_json()["tasks"]["total"]["lost"] == 1
    assert report.as_json()["tasks"]["total"]["per_second"] == 1.5


def test_the_demo_uses_only_readable_files(tmp_path: Path) -> None:
    (tmp_path / "a" / "__pycache__").mkdir(parents=True)
    (tmp_path / "a" / "__pycache__" / "x").touch()
    (tmp_path / "a" / "two").touch()
    (tmp_path / "one").touch()
    os.mkfifo(tmp_path / "fifo")
    assert readable_files(tmp_path, 10) == [tmp_path / "one", tmp_path / "a" / "two"]
    assert readable_files(tmp_path, 1) == [tmp_path / "one"]


def test_folder_names_and_worker_output_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "[red]a\x1b[2J\u202eb"
    stream = io.StringIO()
    report = DemoReport(
        broker="sqlite",
        directory=hostile,
        files=1,
        processes=2,
        killed=(),
        seconds=1.0,
        tallies={"digest": TaskCounts(enqueued=1, completed=1, run_more_than_once=0)},
    )
    print_table(Console(file=stream, width=200), report)
    assert "[red]a\\x1b[2J\\u202eb" in stream.getvalue()
    log = tmp_path / "workers.log"
    log.write_text(f"{hostile}\nlast\n")
    _print_tail(log)
    assert capsys.readouterr().err == "[red]a\\x1b[2J\\u202eb\nlast\n"
