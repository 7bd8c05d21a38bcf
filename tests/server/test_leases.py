"""Who keeps its task: a busy worker does, a dead or stopped one does not."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from asynq.protocol.message import Lease
from asynq.protocol.ops import GetTask
from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS
from asynq.task_state import TaskState
from asynq.worker.leases.keeper import LeaseKeeper
from asynq.worker.leases.keeper_messages import Hello, KeeperMessage, Ready, ReleaseLeases, encode
from asynq.worker.leases.keeper_process import KeeperProcess
from asynq_sqlite import SQLiteBroker
from tests.programs import program_environment
from tests.server.conftest import open_broker
from tests.stopping import stop
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from tests.server.conftest import ServerLab, Worker

LEASE = 1
TAKEN_OVER_WITHIN = 15
"""Seconds from the end of a lease. A worker with the default lease of 30 s would need longer."""
GONE = None


class Rival:
    """A handler in this process, ready to take over what the worker loses."""

    def __init__(self) -> None:
        self.taken_at: list[float] = []
        self.retried: list[int] = []

    async def __call__(self, ctx: Context, task: Task) -> None:
        self.taken_at.append(time.time())
        self.retried.append(ctx.retried)


def children(pid: int) -> list[int]:
    """The processes a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_running(pid: int) -> bool:
    """False once the process has ended, whether or not somebody noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("kind", ["block", "hog"])
async def test_a_handler_that_blocks_the_loop_or_the_gil_keeps_its_task(
    kind: str, shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=2), Rival()
    await worker.guarded()
    task_id = await shared.enqueue(kind, b"5")
    await worker.noted("begin")
    async with shared.serving(rival, lease=timedelta(seconds=2)):
        if kind == "block":
            await shared.keeps_its_lease(task_id, beyond=2)
            worker.release()
        await shared.reaches(task_id, GONE)
    assert worker.runs == ["begin", "end"]
    assert rival.taken_at == []


async def test_the_task_of_a_killed_worker_is_recovered_in_time(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=LEASE), Rival()
    task_id = await shared.enqueue("wait")
    await worker.noted("begin")
    async with shared.serving(rival, lease=timedelta(seconds=LEASE)):
        await shared.keeps_its_lease(task_id, beyond=LEASE)
        assert rival.taken_at == []
        worker.signal(signal.SIGKILL)
        await worker.ended()
        killed = await shared.find(task_id)
        assert killed
        await shared.reaches(task_id, GONE)
    assert 0 <= rival.taken_at[0] - killed.due_at / 1000 < TAKEN_OVER_WITHIN
    assert rival.retried == [1]


async def test_the_task_of_a_stopped_worker_is_recovered_and_its_late_end_changes_nothing(
    shared: ServerLab, shared_url: str, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=LEASE), Rival()
    task_id = await shared.enqueue("wait", retention=60)
    await worker.noted("begin")
    stop(worker.process.pid, shared_url)
    async with shared.serving(rival, lease=timedelta(seconds=LEASE)):
        await shared.reaches(task_id, TaskState.COMPLETED)
        assert rival.retried == [1]
        completed = await shared.find(task_id)
        worker.release()
        worker.signal(signal.SIGCONT)
        other = await shared.enqueue("wait")
        await shared.reaches(other, GONE)
        worker.signal(signal.SIGTERM)
        assert await worker.ended() == 0
    assert await shared.find(task_id) == completed


async def test_the_lease_keeper_process_is_replaced_and_ends_with_its_worker(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=LEASE), Rival()
    task_id = await shared.enqueue("wait")
    await worker.noted("begin")
    await worker.guarded()
    [keeper] = children(worker.process.pid)
    os.kill(keeper, signal.SIGKILL)
    async with shared.serving(rival, lease=timedelta(seconds=LEASE)):
        await aeventually(lambda: set(children(worker.process.pid)) - {keeper})
        await shared.keeps_its_lease(task_id, beyond=2 * LEASE)
        worker.release()
        await shared.reaches(task_id, GONE)
    assert (worker.runs, rival.taken_at) == (["begin", "end"], [])
    [keeper] = children(worker.process.pid)
    worker.signal(signal.SIGKILL)
    await aeventually(lambda: not is_running(keeper))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("kind", ["block", "wait"])
@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)
async def test_a_task_is_kept_when_its_lease_keeper_process_dies_or_is_stopped(
    number: signal.Signals, kind: str, shared: ServerLab, shared_url: str, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=2), Rival()
    await worker.guarded()
    task_id = await shared.enqueue(kind)
    await worker.noted("begin")
    [keeper] = children(worker.process.pid)
    if number == signal.SIGSTOP:
        stop(keeper, shared_url)
    else:
        os.kill(keeper, number)
    async with shared.serving(rival, lease=timedelta(seconds=2)):
        await shared.keeps_its_lease(task_id, beyond=3)
        worker.release()
        await shared.reaches(task_id, GONE)
    assert (worker.runs, rival.taken_at) == (["begin", "end"], [])
    if number == signal.SIGSTOP:
        os.kill(keeper, signal.SIGCONT)


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)
async def test_a_handler_that_blocks_the_loop_beyond_its_timeout_loses_its_task(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker, rival = start_worker(lease=LEASE), Rival()
    task_id = await shared.enqueue("block", timeout=1)
    await worker.noted("begin")
    async with shared.serving(rival, lease=timedelta(seconds=LEASE)):
        await shared.reaches(task_id, GONE)
    assert worker.runs == ["begin"]
    assert rival.retried == [1]


async def test_a_handler_that_blocks_the_loop_keeps_its_task_in_memory(memory: ServerLab) -> None:
    runs = 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal runs
        runs += 1
        mine = GetTask(queue=ctx.queue, task_id=ctx.task_id)
        lease_ends = memory.broker.execute(mine).due_at
        eventually(lambda: memory.broker.execute(mine).due_at > lease_ends + 1000 * LEASE)

    async with memory.serving(handler, lease=timedelta(seconds=LEASE)):
        await memory.reaches(await memory.enqueue(), GONE)
    assert runs == 1


async def test_a_signal_to_all_processes_does_not_end_a_starting_lease_keeper(shared_url: str) -> None:
    """A Ctrl-C reaches every process of a terminal at once."""
    heard, ready = list[KeeperMessage](), asyncio.Event()

    def hear(said: KeeperMessage) -> None:
        heard.append(said)
        ready.set()

    broker = open_broker(shared_url)
    keeper = KeeperProcess.spawn(encode(Hello.of(broker, 1000, os.getpid())), hear)
    try:
        for number in CHILD_MASKED_SIGNALS:
            os.kill(keeper._process.pid, number)
        await aeventually(lambda: ready.is_set() or keeper.ended.is_set())
    finally:
        await keeper.close()
        await broker.aclose()
        broker.close()
    assert heard == [Ready()]


@asynccontextmanager
async def keeping(url: str, caplog: pytest.LogCaptureFixture) -> AsyncIterator[LeaseKeeper]:
    """A lease keeper at work."""
    caplog.set_level("INFO", "asynq.leases")
    broker = open_broker(url)
    keeper = LeaseKeeper(broker, 30_000, rng=Random(1))
    await keeper.start(lambda _: None)
    try:
        yield keeper
    finally:
        await keeper.aclose()
        await broker.aclose()
        broker.close()


async def test_a_lease_keeper_process_gets_ready_beside_a_busy_worker(
    shared_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker takes and settles more tasks while the process starts than a pipe can hold."""
    before = children(os.getpid())
    async with keeping(shared_url, caplog) as keeper:
        await aeventually(lambda: children(os.getpid()) != before)
        for fetch in range(200):
            leases = [Lease("default", f"task {number}", f"token {fetch}") for number in range(200)]
            keeper.hold(dict.fromkeys(leases, 60.0))
            keeper.release(leases)
        await aeventually(lambda: "is ready" in caplog.text)
    assert "restarted" not in caplog.text


@pytest.mark.parametrize("shared_url", ["sqlite"], indirect=True)
async def test_a_lease_keeper_process_takes_over_more_leases_than_it_may_leave_unread(
    shared_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping(shared_url, caplog) as keeper:
        name = "x" * 1000
        keeper.hold({Lease("default", f"{name}{number}", "token"): 60.0 for number in range(2000)})
        await aeventually(lambda: "is ready" in caplog.text)
        keeper.hold({Lease("default", "another", "token"): 60.0})
        process = keeper._process
        assert process
        await aeventually(lambda: process.ended.is_set() or not process._unsent)
        assert not process.ended.is_set()


@pytest.mark.parametrize("written", ["nothing", "half a hello", "half a message"])
def test_a_lease_keeper_process_ends_silently_when_its_worker_dies_while_it_writes(
    written: str, tmp_path: Path
) -> None:
    hello = encode(Hello.of(SQLiteBroker(tmp_path / "tasks.db"), 1000, os.getpid()))
    message = encode(ReleaseLeases([Lease("default", "task", "token")]))
    said = {"nothing": b"", "half a hello": hello[:-9], "half a message": hello + message[:-9]}[written]
    command = [sys.executable, "-m", "asynq.worker.leases.keeper_main", "20"]
    ended = subprocess.run(command, input=said, capture_output=True, env=program_environment(), check=False)
    assert (ended.returncode, ended.stderr) == (0, b"")
