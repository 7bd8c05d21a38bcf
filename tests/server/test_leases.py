"""Who keeps its task: a busy worker does, a dead or stopped one does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import msgspec
import pytest

from asynq.protocol.message import Lease, TaskMessage
from asynq.protocol.ops import MAX_BATCH, Dequeue, Enqueue, GetTask, ListTasks
from asynq.runtime.anonymous_file import anonymous_file
from asynq.runtime.child_signals import CHILD_MASKED_SIGNALS
from asynq.task_state import TaskState
from asynq.worker.leases.extension_schedule import LeaseLost
from asynq.worker.leases.held_leases import HeldLeases
from asynq.worker.leases.keeper import LeaseKeeper
from asynq.worker.leases.keeper_messages import KeeperMessage, KeeperSettings, Ready
from asynq.worker.leases.keeper_process import KeeperProcess
from asynq_sqlite import SQLiteBroker
from tests.programs import program_environment
from tests.server.conftest import open_broker
from tests.stopping import stop
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery
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


@asynccontextmanager
async def running(
    broker: Broker, held: HeldLeases, lease: int = LEASE * 1000
) -> AsyncIterator[tuple[KeeperProcess, list[KeeperMessage]]]:
    """A lease keeper process of this one, without the thread that extends leases beside it; its messages."""
    heard: list[KeeperMessage] = []
    keeper = KeeperProcess.spawn(KeeperSettings.of(broker, lease, held.descriptor), heard.append)
    try:
        yield keeper, heard
    finally:
        await keeper.close()


@pytest.fixture
def held() -> Iterator[HeldLeases]:
    """The leases that this process holds."""
    held = HeldLeases()
    yield held
    held.close()


async def take(shared: ServerLab, count: int, lease: int) -> dict[str, Delivery]:
    """Take new tasks; the deliveries by the ids of the tasks."""
    messages = [TaskMessage(id=f"{number}", type="t", queue="default") for number in range(count)]
    for start in range(0, count, MAX_BATCH):
        batch = messages[start : start + MAX_BATCH]
        await shared.broker.aexecute_many([Enqueue(message=each, enqueue_id="e") for each in batch])
    taken: list[Delivery] = []
    while len(taken) < count:
        orders = (("default",),) * min(count - len(taken), MAX_BATCH)
        taken += await shared.broker.aexecute(Dequeue(orders=orders, token=f"{len(taken)}", lease=lease))
    return {delivery.message.id: delivery for delivery in taken}


def extended(shared: ServerLab, ends: int) -> int:
    """How many leases end later."""
    found = ListTasks(queue="default", state=TaskState.ACTIVE, limit=20_000)
    return sum(stored.due_at > ends for stored in shared.broker.execute(found))


async def test_a_signal_to_all_processes_does_not_end_a_starting_lease_keeper(
    shared: ServerLab, held: HeldLeases
) -> None:
    """A Ctrl-C reaches every process of a terminal at once."""
    async with running(shared.broker, held) as (keeper, heard):
        for number in CHILD_MASKED_SIGNALS:
            os.kill(keeper._process.pid, number)
        await aeventually(lambda: heard or keeper.ended.is_set())
    assert heard == [Ready()]


async def test_a_lease_keeper_process_that_starts_late_extends_what_is_held(
    shared: ServerLab, held: HeldLeases
) -> None:
    """And one that replaces another. The worker does nothing meanwhile: its event loop is blocked."""
    lease = 10_000
    delivery = (await take(shared, 1, lease))["0"]
    held.hold({delivery.lease: 600.0}, time.monotonic())
    ends = delivery.expires_at
    for _ in range(2):
        async with running(shared.broker, held, lease):
            eventually(partial(extended, shared, ends))
        stored = await shared.find("0")
        assert stored
        ends = stored.due_at


@pytest.mark.parametrize("shared_url", ["redis"], indirect=True)
async def test_a_lease_keeper_process_extends_the_leases_of_ten_thousand_slots(
    shared: ServerLab, held: HeldLeases
) -> None:
    lease = 60_000
    taken = await take(shared, 10_000, lease)
    leases = [delivery.lease for delivery in taken.values()]
    held.hold(dict.fromkeys(leases, 600.0), time.monotonic() - lease / 1000)
    last = max(delivery.expires_at for delivery in taken.values())
    async with running(shared.broker, held, lease):
        await aeventually(lambda: extended(shared, last) == len(leases))


async def test_a_lease_keeper_process_reports_a_lost_lease_once_while_its_worker_is_blocked(
    shared: ServerLab, held: HeldLeases
) -> None:
    lost, kept = Lease("default", "unknown", "token"), (await take(shared, 1, 1000))["0"].lease
    held.hold({lost: 600.0, kept: 600.0}, time.monotonic())
    blocked_until = int(time.time() * 1000) + 3 * LEASE * 1000
    async with running(shared.broker, held) as (_, heard):
        eventually(lambda: extended(shared, blocked_until))
        await aeventually(lambda: len(heard) > 1)
        await shared.keeps_its_lease("0", beyond=LEASE)
    assert heard == [Ready(), LeaseLost(lost)]


async def test_a_released_lease_is_not_extended(shared: ServerLab, held: HeldLeases) -> None:
    taken = await take(shared, 2, 1000)
    held.hold({delivery.lease: 600.0 for delivery in taken.values()}, time.monotonic())
    held.release([taken["0"].lease])
    async with running(shared.broker, held):
        await shared.keeps_its_lease("1", beyond=LEASE)
    released = await shared.find("0")
    assert released
    assert released.due_at == taken["0"].expires_at


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
    before = children(os.getpid())
    async with keeping(shared_url, caplog) as keeper:
        await aeventually(lambda: children(os.getpid()) != before)
        for fetch in range(200):
            leases = [Lease("default", f"task {number}", f"token {fetch}") for number in range(200)]
            keeper.hold(dict.fromkeys(leases, 60.0))
            keeper.release(leases)
        await aeventually(lambda: "is ready" in caplog.text)
    assert "restarted" not in caplog.text


def test_a_lease_keeper_process_whose_worker_dies_at_once_ends_silently(
    tmp_path: Path, held: HeldLeases
) -> None:
    settings = KeeperSettings.of(SQLiteBroker(tmp_path / "tasks.db"), 1000, held.descriptor)
    with anonymous_file("settings") as file:
        file.write(msgspec.msgpack.encode(settings))
        ended = subprocess.run(
            [sys.executable, "-m", "asynq.worker.leases.keeper_main", "20", str(file.fileno())],
            input=b"",
            capture_output=True,
            env=program_environment(),
            pass_fds=(file.fileno(), held.descriptor),
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, b"")


async def test_a_worker_without_standard_input_has_a_lease_keeper_process(
    shared: ServerLab, held: HeldLeases
) -> None:
    """A daemon may have closed it, so that the next file gets its number."""
    before = os.dup(0)
    os.close(0)
    try:
        async with running(shared.broker, held) as (keeper, heard):
            await aeventually(lambda: heard or keeper.ended.is_set())
    finally:
        os.dup2(before, 0)
        os.close(before)
    assert heard == [Ready()]
