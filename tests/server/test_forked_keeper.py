"""The lease keeper process that `asynq worker` forks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS
from asynq.task_state import TaskState
from tests.programs import program_environment
from tests.server.test_leases import LEASE, children, is_running
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.server.conftest import ServerLab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers fork their keepers on Linux only")
PROGRAM = "asynq.worker.leases.keeper_main"
MODULE = """
import itertools, pathlib
from asynq import ServeMux
from tests.waiting import eventually
mux = ServeMux()
loaded = pathlib.Path(__file__).with_name("loaded")
released = pathlib.Path(__file__).with_name("released")

@mux.handler("hog")
async def hog(ctx, task):
    # Holds the interpreter lock until the worker is killed, so that none of its threads extends the lease.
    sum(itertools.repeat(1, 50_000_000_000))

loaded.touch()
"""
HANGING_MODULE = MODULE + "eventually(released.exists)\n"


@contextmanager
def command(
    url: str, directory: Path, module: str = MODULE, *, files: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[bytes]]:
    """`asynq worker` with a module of this text. It inherits the files."""
    (directory / "forked_app.py").write_text(module)
    command = [sys.executable, "-m", "asynq", "worker", "forked_app:mux", "--app-dir", str(directory)]
    command += ["--broker", url, "--lease", f"{LEASE}s", "--log-level", "error"]
    process = subprocess.Popen(command, env=program_environment(), pass_fds=files, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_program(pid: int) -> bool:
    """Whether the process is a program of its own."""
    return PROGRAM.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()


async def keeper_of(worker: subprocess.Popen[bytes]) -> int:
    """The keeper process of a worker."""
    await aeventually(lambda: children(worker.pid))
    [keeper] = children(worker.pid)
    return keeper


async def test_the_forked_keeper_extends_leases_and_ends_with_its_worker(
    shared: ServerLab, shared_url: str, tmp_path: Path
) -> None:
    with command(shared_url, tmp_path) as worker:
        task_id = await shared.enqueue("hog")
        await shared.reaches(task_id, TaskState.ACTIVE)
        keeper = await keeper_of(worker)
        assert not is_program(keeper)
        await shared.keeps_its_lease(task_id, beyond=LEASE)
        worker.kill()
        await aeventually(lambda: not is_running(keeper))


@pytest.mark.parametrize("shared_url", ["redis"], indirect=True)
async def test_a_program_replaces_the_forked_keeper(
    shared: ServerLab, shared_url: str, tmp_path: Path
) -> None:
    with command(shared_url, tmp_path) as worker:
        await aeventually((tmp_path / "loaded").exists)
        os.kill(await keeper_of(worker), signal.SIGKILL)
        await aeventually(lambda: any(map(is_program, children(worker.pid))))
        task_id = await shared.enqueue("hog")
        await shared.reaches(task_id, TaskState.ACTIVE)
        await shared.keeps_its_lease(task_id, beyond=LEASE)


@pytest.mark.parametrize("shared_url", ["redis"], indirect=True)
async def test_the_forked_keeper_has_no_files_of_its_worker(shared_url: str, tmp_path: Path) -> None:
    """A supervisor, for example, learns of the end of a worker by the end of a pipe."""
    reading, writing = os.pipe()
    with command(shared_url, tmp_path, files=(writing,)) as worker:
        os.close(writing)
        await aeventually((tmp_path / "loaded").exists)
        keeper = await keeper_of(worker)
        await aeventually(lambda: not held(keeper, reading))
        assert held(worker.pid, reading)
    os.close(reading)


def held(pid: int, pipe: int) -> bool:
    """Whether a process has one of the ends of a pipe."""
    files = Path(f"/proc/{pid}/fd").iterdir()
    return any(file.stat().st_ino == os.fstat(pipe).st_ino for file in files if file.exists())


@pytest.mark.parametrize("shared_url", ["redis"], indirect=True)
async def test_signals_to_all_processes_do_not_end_a_waiting_keeper(
    shared: ServerLab, shared_url: str, tmp_path: Path
) -> None:
    with command(shared_url, tmp_path, HANGING_MODULE) as worker:
        keeper = await keeper_of(worker)
        for number in CHILD_MASKED_SIGNALS:
            os.kill(keeper, number)
        (tmp_path / "released").touch()
        task_id = await shared.enqueue("hog")
        await shared.reaches(task_id, TaskState.ACTIVE)
        assert children(worker.pid) == [keeper]
        await shared.keeps_its_lease(task_id, beyond=LEASE)


async def test_a_worker_in_memory_has_no_keeper(tmp_path: Path) -> None:
    with command("memory://", tmp_path, HANGING_MODULE) as worker:
        await aeventually((tmp_path / "loaded").exists)
        await keeper_of(worker)
        (tmp_path / "released").touch()
        await aeventually(lambda: not children(worker.pid))
        assert worker.poll() is None


async def test_a_worker_that_cannot_start_leaves_no_keeper(shared_url: str, tmp_path: Path) -> None:
    with command(shared_url, tmp_path, HANGING_MODULE + "raise SystemExit(3)") as worker:
        await aeventually((tmp_path / "loaded").exists)
        keeper = await keeper_of(worker)
        (tmp_path / "released").touch()
        await aeventually(lambda: worker.poll() is not None)
        await aeventually(lambda: not is_running(keeper))
