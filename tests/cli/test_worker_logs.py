"""What `asynq worker` and the processes it starts write to a terminal, and who configures it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import psutil
import pytest

from asynq import Client, Task
from asynq.runtime.safe_text import MAX_TRACEBACK
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30
FORGED = "2026-01-01 00:00:00,000 1 INFO asynq.server: closed"
HOSTILE = f"a\r\n{FORGED}\n\x1b[2J\x1b]0;title\x07\u202e"

HANDLERS = """
import logging, logging.config, sys
import asynq

mux = asynq.ServeMux()
log = logging.getLogger("app")

@mux.handler("t")
async def handle(ctx, task):
    log.info("the handler runs")

@mux.handler("fails")
async def fail(ctx, task):
    error = ValueError(task.payload.decode() * int(task.headers.get("times", 1)))
    error.add_note(task.payload.decode())
    raise error

@mux.handler("thread")
def handle_in_thread(ctx, task):
    log.info("the handler runs")

def apart(ctx, task):
    log.info("the handler runs apart")
    logging.getLogger("asynq.limits").warning("a line of asynq's")
    raise ValueError(task.payload.decode())

mux.handle("apart", apart, executor="process")
"""
SCHEDULER = """
import asyncio

async def main():
    scheduler = asynq.Scheduler("sqlite:///tasks.db")
    await scheduler.start()
    await scheduler.shutdown()

asyncio.run(main())
"""
CONFIGURED = {
    "none": "",
    "basicConfig": """
import logging, sys
logging.basicConfig(format="MINE %(name)s %(levelname)s %(message)s", level="INFO")
""",
    "dictConfig": """
import logging.config, asynq
logging.config.dictConfig({
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(name)s %(levelname)s %(message)s"}},
    "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "root": {"level": "INFO", "handlers": ["mine"]},
})
""",
    "asynq alone": """
import logging.config, asynq
logging.config.dictConfig({
    "version": 1,
    "formatters": {"mine": {"format": "MINE %(name)s %(levelname)s %(message)s"}},
    "handlers": {"mine": {"class": "logging.StreamHandler", "formatter": "mine"}},
    "loggers": {"asynq": {"level": "INFO", "handlers": ["mine"]}},
})
""",
}


@contextmanager
def worker(directory: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """A worker of `app.py` in a process group of its own, and what is written to its stderr."""
    command = [sys.executable, "-m", "asynq", "worker", "app:mux", "-b", "sqlite:///tasks.db", *options]
    with subprocess.Popen(
        command, cwd=directory, stderr=subprocess.PIPE, text=True, errors="strict", start_new_session=True
    ) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            finally:
                process.kill()


def enqueue(directory: Path, *tasks: Task) -> None:
    with Client(f"sqlite:///{directory}/tasks.db") as client:
        for task in tasks:
            client.enqueue(task, max_retry=0)


def until(lines: IO[str], *wanted: str) -> list[str]:
    """Read until lines with all these texts have come."""
    read: list[str] = []
    missing = list(wanted)
    while missing:
        line = lines.readline()
        assert line, f"no line with {missing} in {read}"
        read.append(line.removesuffix("\n"))
        missing = [text for text in missing if text not in line]
    return read


@pytest.mark.parametrize("how", CONFIGURED)
@pytest.mark.parametrize("processes", ["1", "2"])
def test_logging_configured_by_the_module_is_kept(tmp_path: Path, how: str, processes: str) -> None:
    (tmp_path / "app.py").write_text(CONFIGURED[how] + HANDLERS)
    enqueue(tmp_path, Task("fails", "boom", task_id="7"))
    with worker(tmp_path, "-p", processes) as (_, lines):
        read = until(lines, "serving queues", "task '7'")
    about = [line for line in read if "serving queues" in line or "task '7'" in line]
    begin = r"[\d-]+ [\d:,]+ \d+ (INFO|ERROR) asynq" if how == "none" else r"MINE asynq\.\w+ (INFO|ERROR) "
    assert all(re.match(begin, line) for line in about), read


@pytest.mark.parametrize("how", ["none", "basicConfig", "dictConfig"])
@pytest.mark.parametrize(("level", "speaks"), [("warning", False), ("debug", True)])
def test_a_given_log_level_takes_precedence(tmp_path: Path, how: str, level: str, speaks: bool) -> None:
    (tmp_path / "app.py").write_text(CONFIGURED[how] + HANDLERS)
    enqueue(tmp_path, Task("t"), Task("fails", "boom", task_id="7"))
    with worker(tmp_path, "--log-level", level, "-c", "1") as (_, lines):
        read = "\n".join(until(lines, "task '7'", *(["the handler runs"] if speaks else [])))
    assert ("serving queues" in read, "the handler runs" in read) == (speaks, speaks)


def test_a_log_level_configured_by_the_module_is_kept(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "import logging\nlogging.getLogger('asynq').setLevel('ERROR')\n" + HANDLERS
    )
    enqueue(tmp_path, Task("t"), Task("fails", "boom", task_id="7"))
    with worker(tmp_path) as (_, lines):
        read = "\n".join(until(lines, "the handler runs", "task '7'"))
    assert "serving queues" not in read


@pytest.mark.parametrize("how", ["none", "basicConfig", "dictConfig"])
def test_a_handler_process_uses_the_logging_of_its_module(tmp_path: Path, how: str) -> None:
    (tmp_path / "app.py").write_text(CONFIGURED[how] + HANDLERS)
    enqueue(tmp_path, Task("apart", "boom"))
    with worker(tmp_path) as (_, lines):
        read = until(lines, "the handler runs apart", "a line of asynq's")
    found = [line for line in read if "the handler runs apart" in line or "a line of asynq's" in line]
    begin = r"[\d-]+ [\d:,]+ \d+ (INFO|WARNING) " if how == "none" else "MINE (app|asynq.limits) "
    assert all(re.match(begin, line) for line in found), read


@pytest.mark.parametrize("kind", ["t", "thread", "apart"])
def test_every_line_that_a_handler_logs_names_its_task(tmp_path: Path, kind: str) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    enqueue(tmp_path, Task(kind, "boom", task_id="7"))
    with worker(tmp_path) as (_, lines):
        (line,) = [line for line in until(lines, "the handler runs") if "the handler runs" in line]
    assert line.endswith(f" task_id=7 task_type={kind} task_queue=default task_attempt=1")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_every_line_is_an_object_in_json(tmp_path: Path, processes: str) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    enqueue(tmp_path, Task("t", task_id="6"), Task("fails", HOSTILE, task_id="7"), Task("apart", "x"))
    with worker(tmp_path, "--log-format", "json", "-p", processes) as (process, lines):
        read = until(lines, "runs apart", '"task_id": "7"', "serving queues")
        process.terminate()
        read += lines.read().splitlines()
    objects = [json.loads(line) for line in read]
    assert all({"time", "level", "logger", "message", "process"} <= each.keys() for each in objects)
    (spoken,) = [each for each in objects if each["message"] == "the handler runs"]
    task = {"task_id": "6", "task_type": "t", "task_queue": "default", "task_attempt": 1}
    assert spoken | task == spoken
    (failed,) = [each for each in objects if each.get("task_id") == "7"]
    assert (failed["level"], failed["logger"]) == ("error", "asynq.processor")
    assert "ValueError" in failed["exception"]


def test_the_format_does_not_replace_what_the_module_configured(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(CONFIGURED["dictConfig"] + HANDLERS)
    with worker(tmp_path, "--log-format", "json") as (_, lines):
        assert until(lines, "serving queues")[-1].startswith("MINE asynq.server INFO")


def test_colours_are_for_terminals_only(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(HANDLERS)
    with worker(tmp_path, "--log-format", "rich") as (_, lines):
        assert re.match(r"[\d-]+ [\d:,]+ \d+ INFO asynq", until(lines, "serving queues")[-1])


def test_scheduler_records_appear_with_any_logging_configuration(tmp_path: Path) -> None:
    # Its logger is there before logging is configured.
    script = "import asynq\nasynq.Scheduler\n" + CONFIGURED["dictConfig"] + SCHEDULER
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    first, last = ended.stderr.splitlines()
    assert first.startswith("MINE asynq.scheduler INFO enqueuing periodic tasks on SQLiteBroker(")
    assert last == "MINE asynq.scheduler INFO closed"


@pytest.mark.parametrize("how", ["none", "basicConfig"])
def test_task_data_cannot_control_the_terminal(tmp_path: Path, how: str) -> None:
    (tmp_path / "app.py").write_text(CONFIGURED[how] + HANDLERS)
    enqueue(
        tmp_path,
        Task(HOSTILE, HOSTILE, task_id=HOSTILE),
        Task("fails", HOSTILE, task_id="1"),
        Task("fails", "x", headers={"times": "50000000"}, task_id="2"),
        Task("apart", HOSTILE, task_id="3"),
    )
    with worker(tmp_path, "-c", "1") as (process, lines):
        read = until(lines, "handler not found", "task '1'", "task '2'", "task '3'")
        process.terminate()
        read += lines.read().splitlines()
    assert all(line.isprintable() for line in read)
    assert not any(line.startswith("2026-01-01") for line in read)
    assert sum("asynq.server: closed" in line and FORGED not in line for line in read) <= 1
    assert sum(map(len, read)) < 6 * MAX_TRACEBACK


def test_an_error_of_a_module_is_shown_safely(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(f"raise ValueError({HOSTILE!r})")
    with worker(tmp_path) as (process, lines):
        read = lines.read().split("\n")
        assert process.wait(PATIENCE) == 2
    assert all(line.isprintable() and not line.startswith("2026") for line in read)
    assert "ValueError: a" in "\n".join(read)


@pytest.mark.parametrize(("processes", "started"), [("1", 0), ("1", 1), ("2", 0), ("2", 3), ("2", 4)])
def test_ctrl_c_while_helper_processes_start_prints_no_traceback(
    tmp_path: Path, processes: str, started: int
) -> None:
    """A terminal sends it to the whole group, the lease keepers included."""
    (tmp_path / "app.py").write_text(HANDLERS)
    with worker(tmp_path, "-p", processes) as (process, lines):
        read = until(lines, "serving queues")
        eventually(lambda: len(psutil.Process(process.pid).children(recursive=True)) >= started)
        os.killpg(process.pid, signal.SIGINT)
        read += lines.read().splitlines()
        assert process.wait(PATIENCE) in (0, 130)
    assert "Traceback" not in "\n".join(read), read
