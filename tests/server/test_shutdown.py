"""A shutdown of a server loses no task and counts no retry."""

from __future__ import annotations

import asyncio
import signal
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import pytest

from asynq.errors import BrokerRefusedError, ServerStateError
from asynq.handlers.mux import ServeMux
from asynq.protocol.ops import ListServers
from asynq.server import Server
from asynq.task_state import TaskState
from asynq_sqlite import MemoryBroker
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.client.task import Task
    from asynq.handlers.context import Context
    from asynq.protocol.ops import Op
    from tests.server.conftest import ServerLab, Worker

T = TypeVar("T")

GONE = None


async def test_shutdown_lets_handlers_finish_and_takes_no_more_tasks(lab: ServerLab) -> None:
    begun, release, runs = asyncio.Event(), asyncio.Event(), 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await release.wait()

    async with lab.serving(handler, concurrency=1) as server:
        first, second = await lab.enqueue(), await lab.enqueue()
        await begun.wait()
        ending = asyncio.create_task(server.shutdown())
        await aeventually(lambda: server.state == "stopped")
        states = [server.state]
        release.set()
        await ending
        states.append(server.state)
    assert states == ["stopped", "closed"]
    assert runs == 1
    assert await lab.find(first) is None
    stored = await lab.find(second)
    assert stored
    assert stored.state is TaskState.PENDING


async def test_unfinished_tasks_are_requeued_at_the_head_without_using_a_retry(lab: ServerLab) -> None:
    begun, ran = asyncio.Event(), list[str]()

    async def endless(ctx: Context, task: Task) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def handler(ctx: Context, task: Task) -> None:
        ran.append(ctx.task_id)

    async with lab.serving(endless, concurrency=1, shutdown_timeout=timedelta(0)):
        first, second = await lab.enqueue(), await lab.enqueue()
        await begun.wait()
    stored = await lab.find(first)
    assert stored
    assert (stored.state, stored.message.retried) == (TaskState.PENDING, 0)
    async with lab.serving(handler, concurrency=1):
        await aeventually(lambda: len(ran) == 2)
    assert ran == [first, second]


async def test_a_stopped_server_finishes_its_tasks_and_takes_no_more(memory: ServerLab) -> None:
    begun, release, runs = asyncio.Event(), asyncio.Event(), 0

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal runs
        runs += 1
        begun.set()
        await release.wait()

    async with memory.serving(handler) as server:
        first = await memory.enqueue()
        await begun.wait()
        server.stop()
        server.stop()
        second = await memory.enqueue()
        release.set()
        await memory.reaches(first, GONE)
    stored = await memory.find(second)
    assert stored
    assert (stored.state, runs) == (TaskState.PENDING, 1)


async def test_cancelling_serve_shuts_down_first(memory: ServerLab) -> None:
    begun, release = asyncio.Event(), asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        await release.wait()

    server = Server(memory.broker)
    serving = asyncio.create_task(server.serve(handler))
    task_id = await memory.enqueue()
    await begun.wait()
    serving.cancel()
    await aeventually(lambda: server.state == "stopped")
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await serving
    assert server.state == "closed"
    assert await memory.find(task_id) is None


async def test_a_server_cannot_be_restarted(memory: ServerLab) -> None:
    server = Server(memory.broker)
    with pytest.raises(ServerStateError, match="new"):
        server.stop()
    await server.start(ServeMux())
    await server.ping()
    with pytest.raises(ServerStateError, match="active"):
        await server.start(ServeMux())
    await server.shutdown()
    await server.shutdown()
    for refused in (server.start(ServeMux()), server.ping()):
        with pytest.raises(ServerStateError, match="closed"):
            await refused


async def test_a_server_that_never_started_can_be_shut_down(memory: ServerLab) -> None:
    server = Server(memory.broker)
    await server.shutdown()
    assert server.state == "closed"


async def test_an_invalid_handler_is_refused_and_the_server_can_still_start(memory: ServerLab) -> None:
    server = Server(memory.broker)
    with pytest.raises(TypeError, match="handler"):
        await server.start("email")  # type: ignore[arg-type]
    assert server.state == "new"
    await server.shutdown()


async def test_a_refusal_of_the_broker_is_raised_at_once() -> None:
    class Refusing(MemoryBroker):
        async def aexecute(self, op: Op[T], /) -> T:
            raise BrokerRefusedError("wrong password")

    broker = Refusing()
    with pytest.raises(BrokerRefusedError):
        await Server(broker).start(ServeMux())
    await broker.aclose()
    broker.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_running_tasks_finish(
    number: signal.Signals, shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=30)
    first = await shared.enqueue("wait")
    await worker.noted("begin")
    worker.signal(number)
    worker.release()
    assert await worker.ended() == 0
    assert worker.runs == ["begin", "end", "closed"]
    assert await shared.find(first) is None


@pytest.mark.parametrize("handler", ["wait", "deaf", "apart"])
async def test_a_second_signal_ends_the_wait(
    handler: str, shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=30, shutdown=3600, same_request=0)
    task_id = await shared.enqueue(handler)
    await worker.noted("begin")
    # Two numbers: a signal that is still pending absorbs another one of its number.
    worker.signal(signal.SIGTERM)
    worker.signal(signal.SIGINT)
    assert await worker.ended() == 0
    stored = await shared.find(task_id)
    assert stored
    assert (stored.state, stored.message.retried) == (TaskState.PENDING, 0)


@pytest.mark.parametrize("handler", ["deaf", "apart", "endless"])
async def test_a_handler_that_ignores_cancellation_delays_a_shutdown_only_briefly(
    handler: str, shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=30, shutdown=0)
    task_id = await shared.enqueue(handler)
    await worker.noted("begin")
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0
    stored = await shared.find(task_id)
    assert stored
    assert (stored.state, stored.message.retried) == (TaskState.PENDING, 0)


async def test_sigtstp_stops_taking_tasks_and_lets_running_ones_finish(
    shared: ServerLab, start_worker: Callable[..., Worker]
) -> None:
    worker = start_worker(lease=1)
    await shared.enqueue("wait")
    await worker.noted("begin")
    worker.signal(signal.SIGTSTP)

    async def is_stopped() -> bool:
        return [seen.status for seen in await shared.broker.aexecute(ListServers())] == ["stopped"]

    await aeventually(is_stopped)
    second = await shared.enqueue("wait")
    worker.release()
    await worker.noted("begin", "end")
    stored = await shared.find(second)
    assert stored
    assert stored.state is TaskState.PENDING
    worker.signal(signal.SIGTERM)
    assert await worker.ended() == 0


async def test_a_server_in_a_thread_is_stopped_and_shut_down_from_another(memory: ServerLab) -> None:
    begun, release = threading.Event(), threading.Event()

    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        await asyncio.to_thread(release.wait)

    server = Server(memory.broker, concurrency=2)
    thread = threading.Thread(target=server.run, args=(handler,))
    thread.start()
    first = await memory.enqueue()
    await asyncio.to_thread(begun.wait)
    server.stop()
    states = [server.state]
    given_up = asyncio.create_task(server.shutdown())
    await asyncio.sleep(0)
    given_up.cancel()
    ending = asyncio.create_task(server.shutdown())
    release.set()
    await asyncio.wait_for(ending, PATIENCE)
    states.append(server.state)
    assert states == ["stopped", "closed"]
    assert await memory.find(first) is None
    await asyncio.to_thread(thread.join)
    await server.shutdown()


def test_a_server_on_a_closed_event_loop_cannot_be_shut_down() -> None:
    loop = asyncio.new_event_loop()
    server = Server(MemoryBroker())
    loop.run_until_complete(server.start(ServeMux()))
    with pytest.raises(RuntimeError, match="does not run"):
        asyncio.run(server.shutdown())
    loop.run_until_complete(server.shutdown())
    loop.close()
    assert server.state == "closed"
