"""Workers and schedulers in processes of their own, and what they show over HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.programs import program_environment
from tests.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import asyncio, os, time
import asynq

mux = asynq.ServeMux()
scheduler = asynq.Scheduler(os.environ["ASYNQ_BROKER"])
server = asynq.Server(
    os.environ["ASYNQ_BROKER"],
    handler=mux,
    monitoring=asynq.Monitoring(health_port=int(os.environ.get("TEST_PORT", "0")), systemd=True),
)

@mux.handler("pid")
async def pid(ctx, task):
    print(os.getpid(), flush=True)

@mux.handler("blocks the loop")
async def block(ctx, task):
    print(os.getpid(), flush=True)
    with open(task.payload.decode()) as fifo:  # until somebody opens it for writing
        fifo.read()

@mux.handler("runs long")
def run_long(ctx, task):
    print(os.getpid(), flush=True)
    with open(task.payload.decode()) as fifo:
        fifo.read()

@mux.handler("fails")
async def fail(ctx, task):
    raise RuntimeError("on purpose")

@mux.handler("dies")
async def die(ctx, task):
    os.kill(os.getpid(), 9)
"""


class Program:
    """A program of the command line, and what it prints."""

    def __init__(self, process: subprocess.Popen[str], log: Path, port: int) -> None:
        self.process = process
        self.base = f"http://127.0.0.1:{port}"
        self._log = log

    @property
    def log(self) -> str:
        """What it wrote to stderr."""
        return self._log.read_text()

    def line(self) -> str:
        """The next line that it writes to stdout."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a page; status 0 if nobody listens."""
        try:
            with urlopen(self.base + path, timeout=PATIENCE) as answer:  # noqa: S310 - it is our own
                return answer.status, answer.read().decode()
        except HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except (URLError, ConnectionError, TimeoutError) as error:
            return 0, str(error)

    def health(self, path: str) -> tuple[int, dict[str, str]]:
        """Status, and the checks that fail."""
        status, body = self.get(path)
        return status, json.loads(body)["failing"] if status else {}

    def becomes_ready(self) -> None:
        self.answers("/readyz", 200)

    def answers(self, path: str, status: int, *failing: str) -> dict[str, str]:
        """Waits until a page has this status and these checks fail. Returns the reasons."""

        def found() -> bool:
            number, checks = self.health(path)
            return number == status and set(failing) <= set(checks)

        eventually(found, explain=lambda: (self.get(path), self.log))
        return self.health(path)[1]

    def ends(self) -> int:
        """Asks it to stop, and waits. Returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@contextmanager
def program(folder: Path, url: str, port: int, *arguments: str, **variables: str) -> Iterator[Program]:
    """Runs a command in a folder with the application."""
    (folder / "app.py").write_text(APP)
    log = folder / "log"
    environment = program_environment(ASYNQ_BROKER=url, TEST_PORT=str(port), **variables)
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "asynq", *arguments, "--app-dir", str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            yield Program(process, log, port)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()


@contextmanager
def fifo(path: Path) -> Iterator[Path]:
    """A pipe whose readers are held until the end of the block."""
    os.mkfifo(path)
    try:
        yield path
    finally:
        release(path)


def release(path: Path) -> None:
    """Let the readers of a pipe go on. Those that open it later are not held either."""
    if path.is_fifo():
        writer: Any = os.open(path, os.O_RDWR)
        path.unlink()
        path.touch()
        os.close(writer)
