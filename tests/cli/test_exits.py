"""`asynq worker` with code that ends programs: it fails its task, and never ends the other workers."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Inspector, Task
from tests.cli.test_worker import asynq_command

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import asyncio, os, sys
import asynq

if os.environ.get("LOOP") == "asyncio":
    sys.modules["uvloop"] = None
mux = asynq.ServeMux()

async def parse():
    await asyncio.sleep(0)
    import argparse
    argparse.ArgumentParser().parse_args(["--unknown"])

@mux.handler("group")
async def group(ctx, task):
    async with asyncio.TaskGroup() as group:
        group.create_task(parse())

@mux.handler("forgotten")
async def forgotten(ctx, task):
    forgotten.task = asyncio.create_task(parse())
    asyncio.get_running_loop().call_soon(sys.exit, 2)
    await asyncio.wait([forgotten.task])

@mux.handler("exit")
def exit(ctx, task):
    print("exiting", os.getpid(), flush=True)
    os._exit(2)

@mux.handler("pid")
async def pid(ctx, task):
    print("pid", os.getpid(), flush=True)
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "app.py").write_text(APP)
    return f"sqlite:///{tmp_path}/tasks.db"


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_a_coroutine_that_exits_fails_only_its_own_task(tmp_path: Path, url: str, loop: str) -> None:
    command = asynq_command("worker", "app:mux", "-d", str(tmp_path), "-b", url, "-c", "1")
    with (
        Client(url) as client,
        Inspector(url) as inspector,
        subprocess.Popen(
            command,
            env={**os.environ, "LOOP": loop},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        failed = client.enqueue(Task("group"), max_retry=0)
        client.enqueue(Task("forgotten"), max_retry=0)
        client.enqueue(Task("pid"))
        assert process.stdout.readline() == f"pid {process.pid}\n"
        assert "SystemExit: 2" in inspector.task("default", failed.id).last_err
        assert [task.id for task in inspector.tasks("default", "archived")] == [failed.id]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert errors.count("tried to exit the process") >= 2
        assert "in parse" in errors


def test_a_handler_that_ends_its_process_does_not_affect_other_processes(tmp_path: Path, url: str) -> None:
    command = asynq_command("worker", "app:mux", "-d", str(tmp_path), "-b", url, "-c", "1", "-p", "2")
    with (
        Client(url) as client,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        for _ in range(2):
            client.enqueue(Task("exit"))
        ended = {process.stdout.readline().split()[1] for _ in range(2)}
        client.enqueue(Task("pid"))
        name, pid = process.stdout.readline().split()
        assert name == "pid"
        assert pid not in ended
        process.terminate()
        assert process.wait(30) == 0
