"""How `asynq worker` ends in every phase of its life, by every way it can be asked to."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import psutil
import pytest

from asynq import Client, Task
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
import pathlib, threading
import asynq
from tests.waiting import aeventually, eventually

HOUR = 3600
here = pathlib.Path(__file__).parent
mux = asynq.ServeMux()

@mux.handler("wait")
async def wait(ctx, task):
    (here / "begun").touch()
    await aeventually((here / "released").exists, HOUR)
    (here / "ended").touch()

@mux.handler("block")
async def block(ctx, task):
    if not ctx.lease_losses:
        threading.Event().wait()
    (here / "ended").touch()

@mux.handler("apart", executor="process")
def apart(ctx, task):
    (here / "ended").touch()

if (here / "slow").exists():
    (here / "importing").touch()
    eventually(lambda: not (here / "slow").exists(), HOUR)
"""
SAME_REQUEST = """
from asynq.runtime import stop_signals
stop_signals.DUPLICATE_REQUEST_WINDOW = {}
"""
BEREAVED = """
import pathlib
ask_to_stop = stop_signals.ask_to_stop

def noted():
    ask_to_stop()
    pathlib.Path(__file__).with_name("bereaved").touch()

stop_signals.ask_to_stop = noted
"""
"""A worker notes that it has noticed the end of its supervisor."""
SLOW_HANDLER_PROCESS = """
import pathlib, sys
from tests.waiting import eventually
here = pathlib.Path(__file__).parent
if any("asynq.handlers.processes.child" in argument for argument in sys.orig_argv):
    (here / "booting").touch()
    eventually((here / "signalled").exists)
"""


class Site:
    """A folder with an application, and a broker in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"sqlite:///{folder}/tasks.db"
        (folder / "app.py").write_text(APP)
        self.starts_with(SAME_REQUEST.format(3600))

    @property
    def log(self) -> str:
        """What the processes of the worker have logged."""
        return (self.folder / "log").read_text()

    def starts_with(self, *code: str) -> None:
        """Have each process of the worker run this code before anything else."""
        (self.folder / "sitecustomize.py").write_text("".join(code))

    def touch(self, name: str) -> None:
        (self.folder / name).touch()

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def enqueue(self, type: str) -> None:  # noqa: A002
        with Client(self.url) as client:
            client.enqueue(Task(type))

    @contextmanager
    def worker(self, *options: str, under: tuple[str, ...] = ()) -> Iterator[subprocess.Popen[bytes]]:
        """`asynq worker` at work, in a process group of its own."""
        command = [sys.executable, "-m", "asynq", "worker", "app:mux", "-d", str(self.folder), *options]
        environment = {**os.environ, "ASYNQ_BROKER": self.url}
        paths = [str(self.folder), *sys.path]
        environment["PYTHONPATH"] = os.pathsep.join(paths)
        with (
            (self.folder / "log").open("ab") as log,
            subprocess.Popen(
                [*under, *command], env=environment, stderr=log, start_new_session=True
            ) as process,
        ):
            try:
                yield process
            finally:
                for one in everyone(process.pid):
                    with suppress(psutil.NoSuchProcess):
                        one.kill()


def everyone(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.mark.parametrize(("processes", "status"), [("1", -signal.SIGTERM), ("2", 0)])
def test_sigterm_during_the_import_of_the_application_ends_it_at_once(
    site: Site, processes: str, status: int
) -> None:
    site.touch("slow")
    with site.worker("-p", processes) as process:
        eventually(lambda: site.has("importing"))
        process.terminate()
        assert process.wait(30) == status


@pytest.mark.skipif(shutil.which("unshare") is None or os.geteuid() != 0, reason="needs unshare and root")
@pytest.mark.parametrize("processes", ["1", "2"])
def test_sigterm_during_the_import_ends_process_1_of_a_container(site: Site, processes: str) -> None:
    if subprocess.run(["unshare", "--pid", "--fork", "true"], check=False, capture_output=True).returncode:
        pytest.skip("namespaces of processes are not allowed here")
    site.touch("slow")
    with site.worker("-p", processes, under=("unshare", "--pid", "--fork", "--kill-child")) as unshared:
        eventually(lambda: site.has("importing"))
        [first] = psutil.Process(unshared.pid).children()
        first.terminate()
        assert unshared.wait(30) == (128 + signal.SIGTERM if processes == "1" else 0)


@pytest.mark.parametrize("processes", ["1", "2"])
def test_sigtstp_during_the_import_of_the_application_prevents_taking_tasks(
    site: Site, processes: str
) -> None:
    site.touch("slow")
    with site.worker("-p", processes) as process:
        eventually(lambda: site.has("importing"))
        process.send_signal(signal.SIGTSTP)
        site.enqueue("wait")
        site.remove("slow")
        eventually(lambda: site.log.count("stopped taking new tasks") == int(processes))
        process.terminate()
        assert process.wait(30) == 0
    assert not site.has("begun")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_stop_signal_to_all_processes_lets_handlers_finish(
    site: Site, processes: str, number: signal.Signals
) -> None:
    site.enqueue("wait")
    with site.worker("-p", processes) as process:
        eventually(lambda: site.has("begun") and site.log.count("serving queues") == int(processes))
        for one in everyone(process.pid):
            with suppress(psutil.NoSuchProcess):
                one.send_signal(number)
        eventually(lambda: site.log.count("shutting down") == int(processes))
        site.touch("released")
        assert process.wait(30) == 0
    assert site.has("ended")


def test_a_stop_signal_does_not_end_a_starting_handler_process(site: Site) -> None:
    site.starts_with(SAME_REQUEST.format(3600), SLOW_HANDLER_PROCESS)
    site.enqueue("apart")
    with site.worker() as process:
        eventually(lambda: site.has("booting"))
        for one in everyone(process.pid):
            one.send_signal(signal.SIGTERM)
        site.touch("signalled")
        assert process.wait(30) == 0
    assert site.has("ended")


def test_killing_a_supervisor_does_not_interrupt_finishing_workers(site: Site) -> None:
    site.starts_with(SAME_REQUEST.format(0), BEREAVED)
    site.enqueue("wait")
    with site.worker("-p", "2") as process:
        eventually(lambda: site.has("begun") and site.log.count("serving queues") == 2)
        workers = everyone(process.pid)[1:]
        process.terminate()
        eventually(lambda: site.log.count("shutting down") == 2)
        process.kill()
        eventually(lambda: site.has("bereaved"))
        site.touch("released")
        psutil.wait_procs(workers, timeout=30)
    assert site.has("ended")


def test_a_second_stop_signal_to_a_supervisor_is_passed_to_its_workers(site: Site) -> None:
    site.starts_with(SAME_REQUEST.format(0))
    site.enqueue("wait")
    with site.worker("-p", "2", "--shutdown-timeout", "1h") as process:
        eventually(lambda: site.has("begun") and site.log.count("serving queues") == 2)
        process.terminate()
        eventually(lambda: site.log.count("shutting down") == 2)
        process.terminate()
        assert process.wait(30) == 0
    assert not site.has("ended")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_blocked_worker_is_replaced_and_its_task_runs_again(site: Site, processes: str) -> None:
    site.enqueue("block")
    with site.worker("-p", processes, "--stall-timeout", "1s", "--lease", "1s") as process:
        eventually(lambda: site.has("ended"))
        assert "has been blocked for more than 1 s and is killed" in site.log
        process.terminate()
        assert process.wait(30) == 0
    assert "(block) of queue 'default'" in site.log
