"""How a server and a scheduler end when the broker is away, a handler blocks, or a request comes twice."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import PeriodicTaskManager, Scheduler, ServeMux, Server, Task
from asynq.errors import BrokerUnavailable, ServerStateError
from asynq.runtime.stop_signals import EXIT_LOOP_BLOCKED
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker
from tests.server.conftest import ServerLab
from tests.servers import RedisServer
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from asynq.handlers.context import Context
    from asynq.protocol.ops import Op
    from tests.server.conftest import Worker

HOUR = timedelta(hours=1)


class Patient(RedisBroker):
    """Waits an hour for a server that does not answer, and counts what it was asked."""

    def __init__(self, url: str) -> None:
        super().__init__(url, budget=HOUR, connect_timeout=HOUR, socket_timeout=HOUR)
        self.asked = 0

    async def aexecute(self, op: Op[Any], /) -> Any:
        self.asked += 1
        return await super().aexecute(op)

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> Any:
        self.asked += 1
        return await super().aexecute_many(ops)


async def test_repeated_signals_of_one_stop_do_not_interrupt_handlers(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=30)
    await shared.enqueue("wait")
    await worker.noted("begin")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        worker.signal(number)
    worker.release()
    assert await worker.ended() == 0
    assert worker.runs == ["begin", "end", "closed"]


async def test_a_second_request_ends_a_process_whose_event_loop_is_blocked(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=1, same_request=0)
    task_id = await shared.enqueue("block")
    await worker.noted("begin")
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    assert await worker.ended() == EXIT_LOOP_BLOCKED
    assert worker.runs == ["begin"]

    async def handler(ctx: Context, task: Task) -> None:
        pass

    # It is not lost: its lease lapses, and another worker has it.
    async with shared.serving(handler, retry_delay=lambda *_: 0, lease=timedelta(seconds=1)):
        await shared.reaches(task_id, None)


@asynccontextmanager
async def unanswering(how: str) -> AsyncIterator[tuple[RedisServer, Patient]]:
    """A Redis server that goes away when it is told to."""
    with RedisServer.start() as server:
        broker = Patient(server.url)
        yield server, broker
        await broker.aclose()
        broker.close()
        if how == "pause":
            server.resume()


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_an_idle_server_does_not_wait_for_an_unavailable_broker(how: str) -> None:
    async with unanswering(how) as (redis, broker):
        server = Server(broker, aggregator=lambda group, tasks: tasks[0])
        await server.start(ServeMux())
        # Woken, it fetches; without an answer it repeats that.
        getattr(redis, how)()
        asked = broker.asked
        assert server._worker
        server._worker._processor.wake()
        await aeventually(lambda: broker.asked > asked)
        async with asyncio.timeout(PATIENCE):
            await server.shutdown()
        assert server.state == "closed"


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_an_idle_scheduler_does_not_wait_for_an_unavailable_broker(how: str) -> None:
    async with unanswering(how) as (redis, broker):
        scheduler = Scheduler(broker)
        scheduler.register("@every 1s", Task("t"))
        await scheduler.start()
        getattr(redis, how)()
        asked = broker.asked
        await aeventually(lambda: broker.asked > asked)
        async with asyncio.timeout(PATIENCE):
            await scheduler.shutdown()


class Away(MemoryBroker):
    """Cannot be reached any more once it is told so."""

    away = False

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> Any:
        if self.away:
            raise BrokerUnavailable("away")
        return await super().aexecute_many(ops)


async def test_the_wait_for_a_settlement_starts_at_the_end_of_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynq.worker.processor.SETTLE_TIMEOUT", 0.2)
    broker, begun, release = Away(), asyncio.Event(), asyncio.Event()
    ended = False

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal ended
        begun.set()
        await release.wait()
        ended = True

    server = Server(broker, shutdown_timeout=timedelta(minutes=10))
    await server.start(handler)
    task_id = await ServerLab(broker).enqueue()
    await begun.wait()
    broker.away = True
    ending = asyncio.create_task(server.shutdown())
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(30):
        await ending
    broker.away = False
    stored = await ServerLab(broker).find(task_id)
    assert ended
    assert (stored and stored.state) == TaskState.ACTIVE
    broker.close()


class Unanswering(MemoryBroker):
    """Never answers a single operation."""

    asked: asyncio.Event

    async def aexecute(self, op: Any, /) -> Any:
        self.asked.set()
        await asyncio.Event().wait()


async def test_cancelling_serve_while_it_connects_closes_the_server() -> None:
    broker = Unanswering()
    broker.asked = asyncio.Event()
    server = Server(broker)
    serving = asyncio.create_task(server.serve(ServeMux()))
    await broker.asked.wait()
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.state == "closed"
    broker.close()


async def test_a_manager_shut_down_during_its_start_does_not_work(memory: ServerLab) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def provide() -> list[Any]:
        asked.set()
        await release.wait()
        return []

    manager = PeriodicTaskManager(memory.broker, provide)
    starting = asyncio.create_task(manager.start())
    await asked.wait()
    await manager.shutdown()
    release.set()
    with pytest.raises(ServerStateError, match="closed"):
        await starting
    assert manager.state == "closed"


@pytest.mark.parametrize(("same_request", "ends"), [(3600, "finished"), (0, "cancelled")])
async def test_cancelling_serve_again_counts_only_after_the_duplicate_window(
    memory: ServerLab, monkeypatch: pytest.MonkeyPatch, same_request: float, ends: str
) -> None:
    monkeypatch.setattr("asynq.runtime.stop_signals.DUPLICATE_REQUEST_WINDOW", same_request)
    begun, release, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        try:
            await release.wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("finished")

    server = Server(memory.broker, shutdown_timeout=timedelta(seconds=60))
    serving = asyncio.create_task(server.serve(handler))
    task_id = await memory.enqueue()
    await begun.wait()
    serving.cancel()
    await aeventually(lambda: server.state == "stopped")
    serving.cancel()
    if ends == "finished":
        await asyncio.sleep(0)
        release.set()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.state == "closed"
    assert ended == [ends]
    stored = await memory.find(task_id)
    assert (stored and stored.state) == (TaskState.PENDING if ends == "cancelled" else None)


async def test_a_shutdown_does_not_wait_for_the_lease_keeper_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, sys\nif 'asynq.worker.leases.keeper_main' in sys.orig_argv: signal.pause()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with RedisServer.start() as redis:
        broker = RedisBroker(redis.url)
        server = Server(broker, lease=timedelta(seconds=1))
        await server.start(ServeMux())
        async with asyncio.timeout(PATIENCE):
            await server.shutdown()
        await broker.aclose()
        broker.close()
