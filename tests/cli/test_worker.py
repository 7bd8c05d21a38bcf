"""`asynq worker` as it is typed, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest

from asynq import Client, Task, __version__
from asynq.__main__ import main
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import os, sys
import asynq
mux = asynq.ServeMux()
@mux.handler("t")
async def handle(ctx, task):
    print(ctx.queue, task.payload.decode(), os.getpid(), flush=True)
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "broken.py").write_text("raise RuntimeError('broken on purpose')")
    (tmp_path / "exits.py").write_text("raise SystemExit")
    (tmp_path / "breaks.py").write_text("raise BaseException('of no common class')")
    return tmp_path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


def asynq_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "asynq", *arguments]


def asynq(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(asynq_command(*arguments), check=False, capture_output=True, text=True, timeout=60)


@contextmanager
def worker(app_dir: Path, url: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A worker at work, and what its handlers print."""
    command = asynq_command(
        "worker", "app:mux", "--app-dir", str(app_dir), "--log-level", "warning", *options
    )
    with subprocess.Popen(
        command, env={**os.environ, "ASYNQ_BROKER": url}, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def test_a_worker_handles_tasks_and_ends_on_a_signal(app_dir: Path, url: str) -> None:
    with Client(url) as client, worker(app_dir, url, "--queue", "low=1", "-q", "high") as (process, lines):
        client.enqueue(Task("t", "one"), queue="low")
        client.enqueue(Task("t", "two"), queue="high")
        heard = [lines.readline().split()[:2] for _ in range(2)]
        assert sorted(heard) == [["high", "two"], ["low", "one"]]
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


IN_PROCESS = """
import os
import asynq
mux = asynq.ServeMux()
@mux.handler("t", executor="process")
def handle(ctx, task):
    print(os.getpid(), flush=True)
"""


@pytest.mark.parametrize("option", [("--max-tasks-per-child", "1"), ("--max-memory-per-child", "1MB")])
def test_a_worker_replaces_its_handler_processes(app_dir: Path, url: str, option: tuple[str, str]) -> None:
    (app_dir / "app.py").write_text(IN_PROCESS)
    with Client(url) as client, worker(app_dir, url, "-c", "1", *option) as (_, lines):
        client.enqueue_many([Task("t"), Task("t"), Task("t")])
        assert len({lines.readline() for _ in range(3)}) == 3


def test_a_worker_serves_the_queues_that_match_a_pattern(app_dir: Path, url: str) -> None:
    with Client(url) as client:
        client.enqueue(Task("t", "old"), queue="tenant-1")
        with worker(app_dir, url, "--queue", "tenant-*=2", "--limit", "tenant-*=1") as (process, lines):
            assert lines.readline().split()[:2] == ["tenant-1", "old"]
            client.enqueue(Task("t", "new"), queue="tenant-2")
            assert lines.readline().split()[:2] == ["tenant-2", "new"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0


GARBAGE = """
import gc
import asynq
mux = asynq.ServeMux()
@mux.handler("t")
async def handle(ctx, task):
    print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0], flush=True)
"""


@pytest.mark.parametrize(("line", "threshold"), [("", "10000"), ("gc.set_threshold(123)", "123")])
def test_a_worker_process_spares_the_collector_what_is_loaded_at_its_start(
    app_dir: Path, url: str, line: str, threshold: str
) -> None:
    (app_dir / "app.py").write_text(GARBAGE + line)
    with Client(url) as client, worker(app_dir, url) as (_, lines):
        client.enqueue(Task("t"))
        assert lines.readline().split() == ["True", threshold]


def test_several_processes_continue_when_one_is_killed(app_dir: Path, url: str) -> None:
    with Client(url) as client, worker(app_dir, url, "--processes", "2", "-c", "1") as (process, lines):
        client.enqueue(Task("t", "one"))
        os.kill(int(lines.readline().split()[2]), signal.SIGKILL)
        client.enqueue(Task("t", "two"))
        assert lines.readline().split()[:2] == ["default", "two"]
        process.send_signal(signal.SIGINT)
        process.wait(30)
        assert lines.read() == ""


@pytest.mark.parametrize(
    ("target", "why", "processes"),
    [
        ("nowhere:mux", "no module 'nowhere'", "1"),
        ("nowhere:mux", "no module 'nowhere'", "2"),
        ("app:max", "has no 'max'", "1"),
        ("app:__name__", "neither a server nor a handler", "1"),
        ("app", "MODULE:NAME", "1"),
        ("app", "MODULE:NAME", "2"),
        ("broken:mux", "RuntimeError: broken on purpose", "1"),
        ("exits:mux", "SystemExit", "1"),
        ("exits:mux", "SystemExit", "2"),
        ("breaks:mux", "BaseException: of no common class", "1"),
    ],
)
def test_a_target_that_cannot_be_loaded_is_a_usage_error(
    app_dir: Path, url: str, target: str, why: str, processes: str
) -> None:
    ended = asynq("worker", target, "-d", str(app_dir), "-b", url, "-p", processes)
    assert ended.returncode == 2
    assert why in ended.stderr


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--queue", "low=none"], "--queue"),
        (["--limit", "low=none"], "--limit"),
        (["--shared-limit", "unserved=1"], "shared_queue_limits"),
        (["--lease", "soon"], "--lease"),
        (["--lease", "10ms"], "lease"),
        (["--stall-timeout", "10ms"], "--stall-timeout"),
        (["--concurrency", "0"], "concurrency"),
        (["--broker", "nonsense://"], "nonsense"),
        (["--broker", "memory://", "--processes", "2"], "one process only"),
    ],
)
def test_an_invalid_option_is_a_usage_error(app_dir: Path, options: list[str], why: str) -> None:
    ended = asynq("worker", "app:mux", "-d", str(app_dir), *options)
    assert ended.returncode == 2
    assert why in ended.stderr


def test_a_password_in_the_url_is_not_repeated_in_an_error(app_dir: Path) -> None:
    ended = asynq("worker", "app:mux", "-d", str(app_dir), "-b", "nonsense://me:secret@host", "-p", "2")
    assert "secret" not in ended.stderr


def test_the_version_is_printed() -> None:
    assert asynq("--version").stdout == f"asynq-py {__version__}\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_broker_that_refuses_ends_the_worker(app_dir: Path, processes: str) -> None:
    url = f"sqlite:///{app_dir}/nowhere/tasks.db"
    ended = asynq("worker", "app:mux", "-d", str(app_dir), "-b", url, "-p", processes)
    assert ended.returncode == 2
    assert "Error: the broker refused" in ended.stderr


def test_a_worker_logs_its_queues_and_its_failures(app_dir: Path) -> None:
    command = asynq_command("worker", "app:mux", "-b", "sqlite:///tasks.db")
    with (
        Client(f"sqlite:///{app_dir}/tasks.db") as client,
        subprocess.Popen(command, cwd=app_dir, stderr=subprocess.PIPE, text=True) as process,
    ):
        assert process.stderr is not None
        client.enqueue(Task("emial", task_id="7"))
        said = [
            next(line for line in process.stderr if what in line) for what in ("serving queues", "(emial)")
        ]
        process.terminate()
    assert f"SQLiteBroker('{app_dir}/tasks.db'" in said[0]
    assert "WARNING asynq.processor: task '7' (emial) of queue 'default' is retried (1/25)" in said[1]


@pytest.mark.parametrize("processes", ["1", "2"])
def test_an_interrupted_start_prints_no_traceback(app_dir: Path, url: str, processes: str) -> None:
    (app_dir / "slow.py").write_text(
        "import pathlib, threading\n"
        "pathlib.Path(__file__).with_name('begun').touch()\n"
        "threading.Event().wait()\n"
    )
    command = asynq_command("worker", "slow:mux", "-d", str(app_dir), "-b", url, "-p", processes)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        eventually((app_dir / "begun").exists)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == (130 if processes == "1" else 0)
    assert "Traceback" not in errors


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_process_has_not_loaded_the_parser_of_its_options(
    app_dir: Path, url: str, processes: str
) -> None:
    (app_dir / "lists.py").write_text(
        "import pathlib, sys\n"
        "pathlib.Path(__file__).with_suffix('.loaded').write_text('\\n'.join(sys.modules))\n"
        "mux = 1\n"
    )
    asynq("worker", "lists:mux", "-d", str(app_dir), "-b", url, "-p", processes)
    loaded = (app_dir / "lists.loaded").read_text().split()
    assert "asynq.server" in loaded
    assert not {"typer", "pydantic", "rich", "google.protobuf"} & {*loaded}


def test_an_interrupt_during_option_parsing_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("asynq.cli.main.app", interrupted)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130


def test_a_memory_broker_is_reported_as_unreachable_for_others(app_dir: Path) -> None:
    with subprocess.Popen(
        asynq_command("worker", "app:mux", "-d", str(app_dir), "-b", "memory://alone"),
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "works within one process" in next(process.stderr)
        assert "serving queues" in next(process.stderr)
        process.terminate()
