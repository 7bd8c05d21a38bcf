"""The command line of Go asynq, unmodified, on queues of this library."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from tests.interop import toolchain
from tests.interop.waits import is_gone
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Place
    from tests.interop.python_side import PythonSide

LONG = 3600.0
COMMAND_TIMEOUT = 60.0
"""Seconds that one command may take."""


@frozen
class Cli:
    """The command, on one broker."""

    command: tuple[str, ...]
    home: Path
    """Where it looks for a configuration file; there is none."""

    def __call__(self, *arguments: str) -> str:
        """What the command prints. An error fails the test."""
        done = subprocess.run(
            [*self.command, *arguments],
            env={**os.environ, "HOME": str(self.home), "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        assert "error:" not in done.stdout + done.stderr
        return done.stdout

    def table(self, *arguments: str) -> list[list[str]]:
        """The rows of the table that it prints, in cells."""
        lines = self(*arguments).splitlines()
        start = next(number for number, line in enumerate(lines) if line.startswith("--")) + 1
        return [re.split(r"\s{2,}", line.strip()) for line in lines[start:] if line.strip()]


@pytest.fixture(scope="session")
def program(programs_directory: Path) -> Path:
    """The command, built from its module."""
    return toolchain.build(toolchain.CLI, programs_directory)


@pytest.fixture
def cli(program: Path, place: Place, tmp_path: Path) -> Cli:
    """The command on the broker of the test."""
    scheme, _, addresses = place.url.partition("://")
    if scheme == "redis-cluster":
        return Cli((str(program), "--cluster", "--cluster_addrs", addresses), tmp_path)
    return Cli((str(program), "--uri", addresses), tmp_path)


def test_the_command_lists_queues_and_their_numbers(cli: Cli, python: PythonSide) -> None:
    python.enqueue("ok:a", b"x", queue="critical")
    python.enqueue("ok:b", b"x", process_in=LONG)
    python.enqueue("ok:c", b"x", group="invoices")
    # On a cluster the list is a table that also shows slots and nodes.
    assert {"critical", "default"} <= set(cli("queue", "ls").split())
    shown = cli("queue", "inspect", "default")
    assert re.search(r"Size:\s+2\n", shown)
    assert re.search(r"Paused:\s+false\n", shown)
    assert cli("group", "ls", "--queue", "default").split() == ["invoices"]


def test_the_command_shows_the_statistics_of_all_queues(cli: Cli, python: PythonSide) -> None:
    worker = python.worker()
    python.enqueue("ok", task_id="a")
    eventually(lambda: python.queue("default")["processed"] == 1)
    worker.close()
    python.enqueue("ok")
    shown = json.loads(cli("stats", "--json"))
    assert (shown["aggregate"]["pending"], shown["aggregate"]["processed"]) == (1, 1)
    [queue] = shown["queues"]
    assert (queue["Queue"], queue["Size"], queue["ProcessedTotal"]) == ("default", 1, 1)


@pytest.mark.parametrize("state", ["pending", "scheduled", "archived", "completed", "retry", "aggregating"])
def test_the_command_lists_the_tasks_of_a_state(cli: Cli, python: PythonSide, state: str) -> None:
    group = ["--group", "g"] if state == "aggregating" else []
    match state:
        case "scheduled":
            python.enqueue("ok:mail", b"text", task_id="a", process_in=LONG)
        case "aggregating":
            python.enqueue("ok:mail", b"text", task_id="a", group="g")
        case "completed":
            python.worker()
            python.enqueue("ok:mail", b"text", task_id="a", retention=LONG)
        case "retry":
            python.worker(retry_delay=LONG)
            python.enqueue("fail:mail", b"text", task_id="a")
        case _:
            python.enqueue("ok:mail", b"text", task_id="a")
    if state == "archived":
        python.one("archive", "default", "a")
    eventually(lambda: python.task("default", "a").state == state)
    [row] = cli.table("task", "ls", "--queue", "default", "--state", state, *group)
    assert row[0] == "a"
    assert row[1].endswith(":mail")
    assert row[2] == "text"
    assert re.search(rf"State:\s+{state}\n", cli("task", "inspect", "--queue", "default", "--id", "a"))


def test_the_command_moves_a_task(cli: Cli, python: PythonSide) -> None:
    python.enqueue("ok", task_id="a", process_in=LONG)
    chosen = ("--queue", "default", "--id", "a")
    for verb, state in (("run", "pending"), ("archive", "archived"), ("run", "pending")):
        cli("task", verb, *chosen)
        assert python.task("default", "a").state == state
    cli("task", "delete", *chosen)
    assert is_gone(python, "a")


def test_the_command_moves_all_tasks_of_a_state(cli: Cli, python: PythonSide) -> None:
    for _ in range(3):
        python.enqueue("ok", process_in=LONG)
    for verb, state, to in (
        ("archiveall", "scheduled", "archived"),
        ("runall", "archived", "pending"),
        ("archiveall", "pending", "archived"),
    ):
        assert "3 tasks" in cli("task", verb, "--queue", "default", "--state", state)
        assert python.queue("default")[to] == 3
    assert "3 tasks" in cli("task", "deleteall", "--queue", "default", "--state", "archived")
    assert python.queue("default")["size"] == 0


def test_the_command_pauses_and_deletes_a_queue(cli: Cli, python: PythonSide) -> None:
    python.enqueue("ok")
    cli("queue", "pause", "default")
    assert python.queue("default")["paused"]
    cli("queue", "unpause", "default")
    assert not python.queue("default")["paused"]
    cli("queue", "rm", "--force", "default")
    assert python.queues() == []


def test_the_command_cancels_a_run(cli: Cli, python: PythonSide) -> None:
    worker = python.worker(retry_delay=LONG)
    python.enqueue("hold", task_id="a")
    eventually(lambda: worker.runs("a"))

    def cancelled() -> bool:
        cli("task", "cancel", "a")
        return python.task("default", "a").state == "retry"

    eventually(cancelled)
    assert worker.told_to_end() == ["a"]


def test_the_command_enqueues_a_task_that_python_runs(cli: Cli, python: PythonSide) -> None:
    worker = python.worker()
    options = ("--retry", "4", "--timeout", "90s", "--retention", "1h", "--id", "a", "--unique", "1m")
    cli("task", "enqueue", "--type_name", "result", "--payload", "text", *options)
    [run] = eventually(lambda: worker.runs("a"))
    assert (run.type, run.payload, run.max_retry) == ("result", b"text", 4)
    eventually(lambda: python.task("default", "a").result == b"text")


def test_the_command_lists_servers(cli: Cli, python: PythonSide) -> None:
    worker = python.worker(queues={"critical": 6, "default": 1}, concurrency=3)
    eventually(python.servers)
    [row] = cli.table("server", "ls")
    assert row[1] == str(worker.pid)
    assert row[2] == "active"
    assert row[3] == "0/3"
    assert "critical:6" in row[4]


def test_the_command_lists_periodic_tasks_once_for_each_scheduler(cli: Cli, python: PythonSide) -> None:
    _, entry = python.scheduler("@every 1s", "ok:tick", b"x", queue="ticks", max_retry=3)
    python.scheduler("@every 1s", "ok:tick", b"x", queue="ticks", max_retry=3)
    eventually(lambda: len(cli.table("cron", "ls")) == 2)
    for row in cli.table("cron", "ls"):
        assert row[:3] == [entry, "@every 1s", "ok:tick"]
        assert 'Queue("ticks")' in " ".join(row)
    eventually(lambda: len(python.enqueued_by(entry)) >= 2)
    shown = cli("cron", "history", entry)
    for task in python.enqueued_by(entry)[-2:]:
        assert task in shown
