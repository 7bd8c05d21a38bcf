"""How a server and a scheduler end when the broker is away, a handler blocks, or a request comes twice."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import PeriodicTaskManager, Scheduler, ServeMux, Server, Task
from asynq.errors import BrokerUnavailable, ServerStateError
from asynq.runtime.stop_signals import EXIT_BLOCKED, SAME_REQUEST
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker
from tests.server.conftest import Bench, time_taken_away
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

    from asynq.handlers.context import Context
    from asynq.protocol.ops import Op
    from tests.server.conftest import Worker

PROMPT = 4.0
"""Seconds: a shutdown that waits for a broker's answer takes five more."""


async def assert_prompt(shutdown: Coroutine[Any, Any, None]) -> None:
    began = time.monotonic()
    async with time_taken_away() as lost:
        await shutdown
        assert time.monotonic() - began - lost() < PROMPT


async def test_one_stop_that_comes_several_times_cuts_no_handler_short(
    shared: Bench, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=30)
    await shared.enqueue("sleep", b"2")
    await worker.noted("begin")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM):
        worker.signal(number)
        await asyncio.sleep(0.05)
    assert await worker.ended() == 0
    assert worker.runs == ["begin", "end", "closed"]


async def test_a_second_request_ends_a_process_whose_event_loop_is_blocked(
    shared: Bench, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=1)
    task_id = await shared.enqueue("block", b"60")
    await worker.noted("begin")
    worker.signal(signal.SIGTERM)
    await asyncio.sleep(SAME_REQUEST + 0.2)
    worker.signal(signal.SIGTERM)
    began = time.monotonic()
    assert await worker.ended() == EXIT_BLOCKED
    assert time.monotonic() - began < 30
    assert worker.runs == ["begin"]

    async def handler(ctx: Context, task: Task) -> None:
        pass

    # It is not lost: its lease lapses, and another worker has it.
    async with shared.serving(handler, retry_delay=lambda *_: 0, lease=timedelta(seconds=1)):
        await shared.reaches(task_id, None)


@asynccontextmanager
async def unanswering(how: str) -> AsyncIterator[tuple[RedisServer, RedisBroker]]:
    """A Redis server that goes away when it is told to."""
    with RedisServer.start() as server:
        broker = RedisBroker(server.url)
        yield server, broker
        await broker.aclose()
        broker.close()
        if how == "pause":
            server.resume()


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_an_idle_server_does_not_wait_for_a_broker_that_is_away(how: str) -> None:
    async with unanswering(how) as (redis, broker):
        server = Server(broker, aggregator=lambda group, tasks: tasks[0])
        await server.start(ServeMux())
        # Woken, it fetches; without an answer it repeats that.
        getattr(redis, how)()
        assert server._worker
        server._worker._processor.wake()
        await asyncio.sleep(0.1)
        await assert_prompt(server.shutdown())
        assert server.state == "closed"


@pytest.mark.parametrize("how", ["kill", "pause"])
async def test_an_idle_scheduler_does_not_wait_for_a_broker_that_is_away(how: str) -> None:
    async with unanswering(how) as (redis, broker):
        scheduler = Scheduler(broker)
        scheduler.register("@every 1s", Task("t"))
        await scheduler.start()
        getattr(redis, how)()
        await asyncio.sleep(1.2)
        await assert_prompt(scheduler.shutdown())


class Away(MemoryBroker):
    """Cannot be reached any more once it is told so."""

    away = False

    async def aexecute_many(self, ops: Sequence[Op[Any]], /) -> Any:
        if self.away:
            raise BrokerUnavailable("away")
        return await super().aexecute_many(ops)


async def test_what_cannot_be_settled_holds_up_the_end_only_from_the_end_of_its_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("asynq.worker.processor.SETTLE_PATIENCE", 0.2)
    broker, begun, release = Away(), asyncio.Event(), asyncio.Event()
    ended = False

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal ended
        begun.set()
        await release.wait()
        ended = True

    server = Server(broker, shutdown_timeout=timedelta(minutes=10))
    await server.start(handler)
    task_id = await Bench(broker).enqueue()
    await begun.wait()
    broker.away = True
    ending = asyncio.create_task(server.shutdown())
    await asyncio.sleep(0)
    release.set()
    async with asyncio.timeout(30):
        await ending
    broker.away = False
    stored = await Bench(broker).find(task_id)
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


async def test_a_shutdown_while_a_manager_starts_keeps_it_from_working(memory: Bench) -> None:
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


@pytest.mark.parametrize("seconds", [0.0, SAME_REQUEST + 0.1])
async def test_cancelling_serve_again_is_another_request_only_after_a_while(
    memory: Bench, seconds: float
) -> None:
    begun, ended = asyncio.Event(), list[str]()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        try:
            await asyncio.sleep(seconds + 1)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        ended.append("finished")

    server = Server(memory.broker, shutdown_timeout=timedelta(seconds=60))
    serving = asyncio.create_task(server.serve(handler))
    task_id = await memory.enqueue()
    await begun.wait()
    serving.cancel()
    await asyncio.sleep(seconds)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.state == "closed"
    assert ended == ["finished" if not seconds else "cancelled"]
    stored = await memory.find(task_id)
    assert (stored and stored.state) == (TaskState.PENDING if seconds else None)


async def test_a_shutdown_does_not_wait_for_the_lease_keeper_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, time\nif 'asynq.worker.leases.child' in sys.orig_argv: time.sleep(60)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with RedisServer.start() as redis:
        broker = RedisBroker(redis.url)
        server = Server(broker, lease=timedelta(seconds=1))
        await server.start(ServeMux())
        await assert_prompt(server.shutdown())
        await broker.aclose()
        broker.close()
