"""A server tells why tasks wait: in queues that nobody serves, or in its own."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, Context, Inspector, MemoryBroker, ServeMux, Server, Task
from asynq.worker.loops import idle_reasons
from asynq.worker.loops.unserved_queues import FIRST_CHECK, UnservedQueues
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority
from asynq.worker.served_queues import ServedQueues
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
def client(broker: MemoryBroker) -> Iterator[Client]:
    with Client(broker) as client:
        yield client


async def ignore(ctx: Context, task: Task) -> None:
    return None


async def test_a_queue_with_tasks_that_no_server_serves_is_reported_once(
    broker: MemoryBroker, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    for queue in ("emials", "emials", "default"):
        client.enqueue(Task("t"), queue=queue)
    client.enqueue(Task("t"), queue="later", process_in=timedelta(hours=1))
    watch = UnservedQueues(broker, lambda queue: queue == "default")
    assert await watch.step() == FIRST_CHECK
    assert caplog.records == []
    await watch.step()
    await watch.step()
    [record] = caplog.records
    assert record.getMessage() == (
        "no running server serves queue 'emials', which has 2 pending tasks: "
        "start a worker with --queue emials, or add it to the queues of a server"
    )


async def test_a_queue_of_another_server_is_not_reported(
    broker: MemoryBroker, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    other = Server(broker, handler=ignore, queues=["emails"])
    await other.start()
    with Inspector(broker) as inspector:
        await aeventually(inspector.servers)
        inspector.pause("emails")
    client.enqueue(Task("t"), queue="emails")
    watch = UnservedQueues(broker, lambda queue: queue == "default")
    await watch.step()
    await watch.step()
    await other.shutdown()
    assert "emails" not in "".join(
        record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING
    )


@pytest.fixture
async def blocked(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Runs a server whose handlers end with the test. Returns how often it gave a reason."""
    monkeypatch.setattr(idle_reasons, "CHECK_INTERVAL", 0.01)
    caplog.set_level(logging.DEBUG, "asynq.worker")
    release = asyncio.Event()
    servers: list[Server] = []

    async def wait(ctx: Context, task: Task) -> None:
        await release.wait()

    async def run(reason: str, **options: Any) -> None:
        server = Server(broker, handler=wait, **options)
        servers.append(server)
        await server.start()
        await aeventually(
            lambda: any(f"no task is taken: {reason}" == record.getMessage() for record in caplog.records),
            explain=lambda: caplog.text,
        )

    yield run
    release.set()
    for server in servers:
        await server.shutdown()


async def test_a_server_without_a_free_slot_says_so(blocked: Any, client: Client) -> None:
    client.enqueue_many([Task("t"), Task("t")])
    await blocked("no free slot: 1 running task, the concurrency is 1", concurrency=1)


async def test_a_paused_queue_and_an_empty_one_are_named(
    blocked: Any, broker: MemoryBroker, client: Client
) -> None:
    client.enqueue(Task("t"), queue="a")
    client.enqueue(Task("t"), queue="b", process_in=timedelta(hours=1))
    with Inspector(broker) as inspector:
        inspector.pause("a")
    await blocked(
        "queue 'a' is paused (1 pending); queue 'b' has no pending tasks (1 scheduled);"
        " queue 'c' does not exist yet",
        queues=["a", "b", "c"],
    )


@pytest.mark.parametrize(
    ("option", "reason"),
    [
        ("queue_limits", "queue 'a' is at its limit of 1 in this server (1 pending)"),
        ("shared_queue_limits", "queue 'a' is at its shared limit of 1 (1 pending)"),
    ],
)
async def test_a_queue_at_its_limit_is_named(blocked: Any, client: Client, option: str, reason: str) -> None:
    client.enqueue_many([Task("t"), Task("t")], queue="a")
    await blocked(reason, queues=["a"], concurrency=5, **{option: {"a": 1}})


async def test_a_stopped_server_says_so(broker: MemoryBroker, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "asynq.worker")
    preference = QueuePriority.of(["default"])
    served = ServedQueues(preference, QueueLimits.of(None, None, preference))
    reasons = idle_reasons.IdleReasons(broker, 1, served, runs=list, stopped=lambda: True)
    await reasons.step()
    await reasons.step()
    assert [record.getMessage() for record in caplog.records] == [
        "no task is taken: the server was told to stop taking tasks"
    ]


async def test_a_mux_without_handlers_is_reported(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    server = Server(broker, handler=ServeMux())
    await server.start()
    await server.shutdown()
    assert "the mux has no handlers" in caplog.text


async def test_the_handlers_of_a_mux_are_listed_at_debug_level(
    broker: MemoryBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asynq.server")
    mux = ServeMux()
    mux.handle("email:", ignore)
    mux.handle("image", ignore)
    server = Server(broker, handler=mux)
    await server.start()
    await server.shutdown()
    assert "handlers: 'email:', 'image'" in caplog.text


async def test_a_type_without_a_handler_is_reported_once_with_advice(
    broker: MemoryBroker, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    mux = ServeMux()
    mux.handle("email", ignore)
    client.enqueue_many([Task("emial"), Task("emial")])
    server = Server(broker, handler=mux)
    await server.start()
    await aeventually(lambda: caplog.text.count("is retried") == 2)
    await server.shutdown()
    assert caplog.text.count("no handler matches the task type 'emial': register one") == 1
