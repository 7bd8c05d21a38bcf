"""`asynq worker` with a server of the user, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Inspector, Task
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import os
import asynq

mux = asynq.ServeMux()

@mux.handler("t")
async def handle(ctx, task):
    print("ran", ctx.queue, flush=True)

def done(task, ctx):
    print("done", os.getpid(), flush=True)

def make(url=os.environ.get("APP_BROKER", "memory://"), queue="low"):
    return asynq.Server(url, handler=mux, queues=[queue], on_success=done)

async def make_later():
    return make()

def make_nothing():
    return None

def fail():
    raise RuntimeError("failed on purpose")

server = make()
headless = asynq.Server("memory://")
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/tasks.db"


@contextmanager
def worker(folder: Path, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """A worker at work, which prints what its handlers and hooks print."""
    with subprocess.Popen(
        [sys.executable, "-m", "asynq", "worker", *arguments, "-d", str(folder)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[list[str]]:
    assert process.stdout is not None
    return [process.stdout.readline().split() for _ in range(count)]


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize("name", ["server", "make"])
def test_a_server_runs_with_its_own_broker_queues_and_hooks(
    app_dir: Path, url: str, name: str, processes: str
) -> None:
    elsewhere = f"sqlite:///{app_dir}/elsewhere.db"
    with (
        Client(url) as client,
        worker(app_dir, f"app:{name}", "-p", processes, APP_BROKER=url, ASYNQ_BROKER=elsewhere) as process,
    ):
        client.enqueue(Task("t"), queue="low")
        [ran, [done, pid]] = lines(process, 2)
        assert ran == ["ran", "low"]
        assert done == "done"
        assert (int(pid) == process.pid) == (processes == "1")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("processes", ["1", "2"])
def test_arguments_override_the_options_of_a_server(app_dir: Path, url: str, processes: str) -> None:
    arguments = ("app:server", "-p", processes, "--broker", url, "--queue", "high")
    with Client(url) as client, worker(app_dir, *arguments) as process:
        client.enqueue(Task("t"), queue="high")
        assert [line[0] for line in lines(process, 2)] == ["ran", "done"]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["app:headless"], "no handler"),
        (["app:make_later"], "is async"),
        (["app:make_nothing"], "neither a server nor a handler"),
        (["app:fail"], "RuntimeError: failed on purpose"),
        (["app:fail", "--processes", "2"], "'app:fail' could not be loaded"),
        (["app:server", "--processes", "2"], "within one process only"),
        (["app:server", "--lease", "10ms"], "lease"),
    ],
)
def test_a_server_that_cannot_be_used_is_a_usage_error(app_dir: Path, arguments: list[str], why: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "worker", *arguments, "-d", str(app_dir)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert why in " ".join(ended.stderr.split())


SCHEDULE = """
import os
import asynq

URL = os.environ["APP_BROKER"]
scheduler = asynq.Scheduler(URL)
scheduler.register("@hourly", asynq.Task("fixed"))

def provide():
    return [asynq.PeriodicTaskConfig("@daily", asynq.Task("provided"))]

def fail():
    raise RuntimeError("failed on purpose")

def make():
    return [scheduler, asynq.PeriodicTaskManager(URL, provide)]

def make_nothing():
    return []

unable = asynq.PeriodicTaskManager(URL, fail)
server = asynq.Server(URL, handler=asynq.ServeMux(), scheduler=scheduler)
"""


@pytest.fixture
def schedule_dir(tmp_path: Path) -> Path:
    (tmp_path / "schedule.py").write_text(SCHEDULE)
    return tmp_path


def scheduler_command(folder: Path, *targets: str) -> list[str]:
    return [sys.executable, "-m", "asynq", "scheduler", *targets, "-d", str(folder)]


@pytest.mark.parametrize(
    ("targets", "types"),
    [(["schedule:scheduler"], ["fixed"]), (["schedule:make", "schedule:scheduler"], ["fixed", "provided"])],
)
def test_schedulers_run_until_a_signal(
    schedule_dir: Path, url: str, targets: list[str], types: list[str]
) -> None:
    command = scheduler_command(schedule_dir, *targets)
    with (
        Inspector(url) as inspector,
        subprocess.Popen(command, env={**os.environ, "APP_BROKER": url}) as process,
    ):
        eventually(lambda: sorted(each.task_type for each in inspector.scheduler_entries()) == types)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert inspector.scheduler_entries() == ()


@pytest.mark.parametrize(
    ("target", "status", "why"),
    [
        ("schedule:provide", 2, "must be a Scheduler, ScheduleRunner or PeriodicTaskManager"),
        ("schedule:fail", 2, "RuntimeError: failed on purpose"),
        ("schedule:make_nothing", 2, "no scheduler"),
        ("schedule:unable", 1, "RuntimeError: failed on purpose"),
    ],
)
def test_what_cannot_be_scheduled_is_reported(
    schedule_dir: Path, url: str, target: str, status: int, why: str
) -> None:
    ended = subprocess.run(
        scheduler_command(schedule_dir, target, "schedule:scheduler"),
        env={**os.environ, "APP_BROKER": url},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == status
    assert why in " ".join(ended.stderr.split())


def test_the_broker_of_a_server_with_a_scheduler_is_not_replaced(schedule_dir: Path, url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "worker", "schedule:server", "-d", str(schedule_dir), "-b", url],
        env={**os.environ, "APP_BROKER": url},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "scheduler" in ended.stderr


LIFESPAN = """
import os, signal
from contextlib import asynccontextmanager
import asynq

mux = asynq.ServeMux()

@mux.handler("t")
async def handle(ctx, task):
    print("ran", ctx.state, flush=True)

@asynccontextmanager
async def lifespan(server):
    print("begin", os.getpid(), flush=True)
    yield os.getpid()
    print("end", os.getpid(), flush=True)

@asynccontextmanager
async def failing(server):
    raise LookupError("no database here")
    yield

def make(lifespan=lifespan):
    return asynq.Server(os.environ["APP_BROKER"], handler=mux, lifespan=lifespan)

def make_failing():
    return make(failing)
"""


@pytest.mark.parametrize("processes", ["1", "2"])
def test_each_process_has_a_lifespan_of_its_own(tmp_path: Path, url: str, processes: str) -> None:
    (tmp_path / "app.py").write_text(LIFESPAN)
    with Client(url) as client, worker(tmp_path, "app:make", "-p", processes, APP_BROKER=url) as process:
        begun = lines(process, int(processes))
        client.enqueue(Task("t"))
        [ran] = lines(process, 1)
        process.send_signal(signal.SIGTERM)
        ended = lines(process, int(processes))
        assert process.wait(30) == 0
    assert [line[0] for line in begun] == ["begin"] * int(processes)
    assert ["begin", ran[1]] in begun
    assert sorted(line[1] for line in ended) == sorted(line[1] for line in begun)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_lifespan_that_cannot_start_ends_the_worker(tmp_path: Path, url: str, processes: str) -> None:
    (tmp_path / "app.py").write_text(LIFESPAN)
    ended = subprocess.run(
        [sys.executable, "-m", "asynq", "worker", "app:make_failing", "-d", str(tmp_path), "-p", processes],
        env={**os.environ, "APP_BROKER": url},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "Error: the server could not start: LookupError: no database here" in ended.stderr
    assert "raised by the lifespan of the server at its start" in ended.stderr
