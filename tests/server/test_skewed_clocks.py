"""The clock of a worker's machine may be wrong: what is due and what is late goes by the broker's."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncClient, AsyncInspector, Context, ServeMux, Server, Task, TaskState
from asynq.clock import FakeClock
from asynq.protocol.broker_time import SYNC_INTERVAL, BrokerTime
from asynq_redis import RedisBroker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.servers import RedisServer

OFF = [600, -600]
SECOND = timedelta(seconds=1)


@pytest.fixture(params=OFF, ids=["ahead", "behind"])
def off(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Seconds by which the clock of this process is ahead of the broker's."""
    seconds: int = request.param
    honest, honest_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: honest() + seconds)
    monkeypatch.setattr(time, "time_ns", lambda: honest_ns() + seconds * 1_000_000_000)
    return seconds


@pytest.fixture
async def broker(redis_server: RedisServer, off: int) -> AsyncIterator[RedisBroker]:
    broker = RedisBroker(redis_server.url)
    yield broker
    await broker.aclose()


class Worker:
    """A server whose handler does as the task's type says; what it did."""

    def __init__(self, broker: RedisBroker, server: RedisServer) -> None:
        self.redis = server.client
        self.client, self.inspector = AsyncClient(broker), AsyncInspector(broker)
        self.runs: list[Context] = []
        self.server = Server(broker, concurrency=1, shutdown_timeout=timedelta(milliseconds=50))
        self.mux = ServeMux()
        self.mux.handle("return", self._returns)
        self.mux.handle("fail", self._fails)
        self.mux.handle("wait", self._waits)

    def now(self) -> datetime:
        """The broker's time."""
        seconds, microseconds = self.redis.time()
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    async def enqueue(self, type: str, **options: Any) -> str:  # noqa: A002 - a task's
        return (await self.client.enqueue(Task(type, **options))).id

    async def end_of(self, task_id: str) -> Any:
        """The task when its run is over."""
        done = (TaskState.COMPLETED, TaskState.ARCHIVED, TaskState.RETRY)

        async def ended() -> Any:
            info = await self.inspector.task("default", task_id)
            return info if info.state in done else None

        return await aeventually(ended)

    async def _returns(self, ctx: Context, task: Task) -> None:
        self.runs.append(ctx)

    async def _fails(self, ctx: Context, task: Task) -> None:
        self.runs.append(ctx)
        raise ValueError("boom")

    async def _waits(self, ctx: Context, task: Task) -> None:
        self.runs.append(ctx)
        await asyncio.Event().wait()


@pytest.fixture
async def worker(broker: RedisBroker, redis_server: RedisServer) -> AsyncIterator[Worker]:
    worker = Worker(broker, redis_server)
    await worker.server.start(worker.mux)
    yield worker
    await worker.server.shutdown()


async def test_a_task_with_a_future_deadline_is_run(worker: Worker) -> None:
    deadline = (worker.now() + timedelta(minutes=1)).replace(microsecond=0)
    info = await worker.end_of(await worker.enqueue("return", deadline=deadline, retention=60 * SECOND))
    assert info.state is TaskState.COMPLETED
    assert abs(info.completed_at - worker.now()) < 30 * SECOND
    assert [run.deadline for run in worker.runs] == [deadline]


async def test_a_task_with_a_past_deadline_is_archived_without_a_run(worker: Worker) -> None:
    info = await worker.end_of(await worker.enqueue("return", deadline=worker.now() - timedelta(minutes=1)))
    assert (info.state, worker.runs) == (TaskState.ARCHIVED, [])


async def test_a_failed_task_is_retried_until_its_deadline(worker: Worker) -> None:
    deadline = worker.now() + timedelta(minutes=1)
    info = await worker.end_of(await worker.enqueue("fail", deadline=deadline))
    assert info.state is TaskState.RETRY
    assert abs(info.last_failed_at - worker.now()) < 30 * SECOND


async def test_a_run_is_cancelled_at_its_deadline(worker: Worker) -> None:
    info = await worker.end_of(await worker.enqueue("wait", deadline=worker.now() + SECOND))
    assert info.state is TaskState.ARCHIVED
    assert "deadline" in info.last_err
    assert worker.now() - info.deadline < 10 * SECOND


async def test_a_server_shows_the_time_of_the_broker(worker: Worker) -> None:
    task_id = await worker.enqueue("wait", timeout=60 * SECOND)
    await aeventually(lambda: worker.runs)
    worker.server._worker._heartbeat_loop.wake()  # type: ignore[union-attr]

    async def at_work() -> Any:
        return [server for server in await worker.inspector.servers() if server.workers]

    [server] = await aeventually(at_work)
    [run] = server.workers
    assert run.task_id == task_id
    for shown in (server.started_at, run.started_at, run.deadline - 60 * SECOND):
        assert abs(shown - worker.now()) < 30 * SECOND


# --- the time itself ------------------------------------------------------------------------------------


class Broker:
    """Tells its time, after a while."""

    def __init__(self, own: FakeClock, pass_time: Callable[[int], None]) -> None:
        self.own = own
        self.pass_time = pass_time
        self.asked = 0

    async def aexecute(self, op: object) -> int:
        self.asked += 1
        self.pass_time(40)
        now = self.own.now()
        self.pass_time(60)
        return now


async def test_the_time_of_the_broker_is_known_up_to_the_response_time() -> None:
    own, local = FakeClock(5_000_000), FakeClock(1_000_000)

    def pass_time(milliseconds: int) -> None:
        own.advance(milliseconds)
        local.advance(milliseconds)

    broker: Any = Broker(own, pass_time)
    known = BrokerTime(local)
    assert (known.now(), known.synced) == (local.now(), False)
    await known.sync(broker)
    assert known.now() == own.now() - 60
    pass_time(SYNC_INTERVAL - 1)
    await known.sync(broker)
    assert (broker.asked, known.now()) == (1, own.now() - 60)
    own.advance(5000)
    pass_time(1)
    await known.sync(broker)
    assert (broker.asked, known.now()) == (2, own.now() - 60)
    own.set(3_000_000)
    pass_time(SYNC_INTERVAL)
    await known.sync(broker)
    assert own.now() - 60 <= known.now() <= own.now() + 41


async def test_an_answer_read_late_does_not_move_the_time_back() -> None:
    own, local = FakeClock(5_000_000), FakeClock(1_000_000)
    known = BrokerTime(local)
    known.update(own.now(), sent=known.mark())
    sent, told = known.mark(), own.now()
    for clock in (own, local):
        clock.advance(30_000)
    known.update(told, sent=sent)
    assert known.now() == own.now()
