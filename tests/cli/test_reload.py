"""`asynq worker --reload`: real files that change, and real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import pytest

from asynq import Client, Task
from asynq.protocol.connect import connect
from asynq.protocol.ops import GetQueueStats
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("watchfiles")

APP = """
import asyncio, os
import asynq
mux = asynq.ServeMux()
@mux.handler("t")
async def handle(ctx, task):
    print(VERSION, flush=True)
    while task.payload == b"slow" and not os.path.exists({released!r}):
        await asyncio.sleep(0.01)
print("loaded", VERSION, flush=True)
"""


class Program:
    """A program with a worker, whose file the test changes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/tasks.db"
        self.released = folder / "released"

    def write(self, version: str) -> None:
        """Write the file as an editor does: in one step."""
        text = f"VERSION = {version!r}\n" + APP.format(released=str(self.released))
        self.write_text(text)

    def write_text(self, text: str) -> None:
        draft = self.folder / "draft.txt"
        draft.write_text(text)
        draft.replace(self.folder / "app.py")

    @contextmanager
    def working(self, *options: str) -> Iterator[tuple[subprocess.Popen[str], IO[str], Path]]:
        """The worker, what it prints, and its log."""
        command = [sys.executable, "-m", "asynq", "worker", "app:mux", "--app-dir", str(self.folder)]
        log = self.folder / "log"
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [*command, "--reload", *options],
                env={**os.environ, "ASYNQ_BROKER": self.url},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            ) as process,
        ):
            assert process.stdout is not None
            try:
                eventually(lambda: "watching" in log.read_text())
                yield process, process.stdout, log
            finally:
                process.terminate()
                process.wait(30)


@pytest.fixture
def program(tmp_path: Path) -> Program:
    made = Program(tmp_path)
    made.write("one")
    return made


def test_a_changed_file_replaces_the_worker(program: Program) -> None:
    with Client(program.url) as client, program.working() as (process, lines, log):
        assert lines.readline() == "loaded one\n"
        program.write("two")
        assert lines.readline() == "loaded two\n"
        client.enqueue(Task("t"))
        assert lines.readline() == "two\n"
        assert "app.py changed" in log.read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_running_tasks_finish_before_the_worker_is_replaced(program: Program) -> None:
    with Client(program.url) as client, program.working() as (_, lines, log):
        assert lines.readline() == "loaded one\n"
        client.enqueue(Task("t", b"slow"))
        assert lines.readline() == "one\n"
        program.write("two")
        eventually(lambda: "app.py changed" in log.read_text())
        program.released.touch()
        assert lines.readline() == "loaded two\n"
        client.enqueue(Task("t"))
        assert lines.readline() == "two\n"
    broker = connect(program.url)
    stats = broker.execute(GetQueueStats(queue="default"))
    broker.close()
    assert (stats.processed, stats.failed) == (2, 0)


def test_an_error_in_the_file_is_shown_and_the_next_change_awaited(program: Program) -> None:
    with program.working() as (process, lines, log):
        assert lines.readline() == "loaded one\n"
        program.write_text("def broken(:\n")
        eventually(lambda: "another starts when a file changes" in log.read_text())
        assert "SyntaxError" in log.read_text()
        assert process.poll() is None
        program.write("three")
        assert lines.readline() == "loaded three\n"


def test_a_file_that_is_broken_from_the_start_may_be_mended(program: Program) -> None:
    program.write_text("import nothing_of_this_name\n")
    with program.working("--processes", "2") as (process, lines, log):
        eventually(lambda: log.read_text().count("another starts when a file changes") == 2)
        program.write("one")
        assert [lines.readline() for _ in range(2)] == ["loaded one\n"] * 2
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0


def test_a_worker_that_waits_for_a_change_ends_on_a_signal(program: Program) -> None:
    program.write_text("def broken(:\n")
    with program.working() as (process, _, log):
        eventually(lambda: "another starts when a file changes" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_only_python_files_of_the_named_directories_are_watched(program: Program, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    with program.working("--reload-dir", str(library)) as (_, lines, log):
        assert lines.readline() == "loaded one\n"
        program.write("two")
        (library / "notes.txt").write_text("no Python")
        (library / "helper.py").write_text("")
        assert lines.readline() == "loaded two\n"
        text = log.read_text()
        assert "helper.py changed" in text
        assert text.count("changed: the worker processes restart") == 1
