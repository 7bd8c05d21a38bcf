"""Handlers that start processes by forking, as `multiprocessing` does on Linux."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Task
from tests.programs import program_environment
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Iterator

APP = str(Path(__file__).with_name("forking.py"))


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A broker that processes share."""
    return f"sqlite:///{tmp_path}/tasks.db"


class Forking:
    """A worker in a process group of its own, and what its handlers noted."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    async def noted(self, *expected: str) -> None:
        await aeventually(lambda: self._noted()[: len(expected)] == list(expected))

    def _noted(self) -> list[str]:
        return self._log.read_text().split() if self._log.exists() else []

    async def ended(self) -> int:
        await aeventually(lambda: self.process.poll() is not None)
        return self.process.returncode


@contextmanager
def forking(url: str, log: Path, loop: str) -> Iterator[Forking]:
    environment = program_environment()
    process = subprocess.Popen([sys.executable, APP, url, str(log), loop], env=environment, process_group=0)
    try:
        yield Forking(process, log)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("executor", ["thread", "process"])
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_signals_for_children_of_handlers_reach_only_the_children(
    url: str, tmp_path: Path, loop: str, executor: str
) -> None:
    with Client(url) as client, forking(url, tmp_path / "log", loop) as worker:
        for kind, payload in [
            ("pool", ""),
            ("terminated", ""),
            ("forked", "return"),
            ("forked", "raise"),
            ("forked", "exit"),
        ]:
            client.enqueue(Task(f"{executor} {kind}", payload), max_retry=0)
        await worker.noted("14", "-15", "0", "1", "7")
        worker.process.terminate()
        assert await worker.ended() == 0
        await worker.noted("14", "-15", "0", "1", "7", "closed")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_coroutines_and_hooks_may_fork_in_the_event_loop_thread(
    url: str, tmp_path: Path, loop: str
) -> None:
    with Client(url) as client, forking(url, tmp_path / "log", loop) as worker:
        client.enqueue(Task("coroutine", "exit"), max_retry=0)
        client.enqueue(Task("hook"), max_retry=0)
        await worker.noted("-15", "7", "0")
        worker.process.terminate()
        assert await worker.ended() == 0
        await worker.noted("-15", "7", "0", "closed")


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
async def test_ctrl_c_ends_forked_children_and_counts_as_one_stop_request(
    url: str, tmp_path: Path, loop: str
) -> None:
    with Client(url) as client, forking(url, tmp_path / "log", loop) as worker:
        client.enqueue(Task("interrupted"), max_retry=0)
        await worker.noted("begun")
        os.killpg(worker.process.pid, signal.SIGINT)
        assert await worker.ended() == 0
        await worker.noted("begun", "ended", "closed")
