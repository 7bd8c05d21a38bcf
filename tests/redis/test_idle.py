"""An idle worker asks a Redis server little, and finds in time what it did not see; so does a busy one."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Context, ServeMux, Server, Task
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Dequeue, Enqueue
from asynq_redis import RedisBroker
from tests.servers import skip_before_redis_7
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.servers import RedisServer

QUEUES = [f"q{number}" for number in range(100)]
LATE = 10.0
"""Seconds. The polls of an idle worker are three times as far apart."""


class IdleWorker:
    """A server that notes when it ran which task."""

    def __init__(self, url: str) -> None:
        self.broker = RedisBroker(url)
        self.ran: dict[str, float] = {}
        self.followed = ""
        """A queue in which each task is followed by another one."""
        self.server = Server(self.broker, concurrency=2, queues=QUEUES, shutdown_timeout=timedelta(0))
        self.mux = ServeMux()
        self.mux.handle("t", self._run)

    @property
    def live(self) -> bool:
        """Whether it relies on notifications."""
        return self.server._worker is not None and self.server._worker._wakeups.live

    async def _run(self, ctx: Context, task: Task) -> None:
        self.ran[ctx.task_id] = time.monotonic()
        if ctx.queue == self.followed:
            await self.broker.aexecute(enqueue(f"{len(self.ran)}", ctx.queue))


def enqueue(task_id: str, queue: str) -> Enqueue:
    return Enqueue(message=TaskMessage(id=task_id, type="t", queue=queue), enqueue_id=task_id)


@pytest.fixture
async def worker(own_server: RedisServer) -> AsyncIterator[IdleWorker]:
    worker = IdleWorker(own_server.url)
    await worker.server.start(worker.mux)
    await aeventually(lambda: worker.live)
    yield worker
    await worker.server.shutdown()
    await worker.broker.aclose()


async def test_an_idle_worker_sends_few_commands_for_many_queues(
    worker: IdleWorker, own_server: RedisServer
) -> None:
    counts = [(time.monotonic(), own_server.commands())]

    async def is_quiet() -> bool:
        """The last five seconds, which include a heartbeat, had fewer commands than there are queues."""
        now = time.monotonic()
        if now - counts[-1][0] >= 0.5:
            counts.append((now, own_server.commands()))
        before = [count for at, count in counts if at <= now - 5]
        return bool(before) and counts[-1][1] - before[-1] < 40  # INFO itself is called ten times

    await aeventually(is_quiet)


@pytest.mark.parametrize("lease", [1000, 2000])
async def test_a_lease_that_is_much_shorter_than_the_polls_is_recovered_in_time(
    worker: IdleWorker, own_server: RedisServer, lease: int
) -> None:
    broker = RedisBroker(own_server.url)
    take = Dequeue(orders=(("q7",),), token="of a worker that dies", lease=lease)
    _, taken = broker.execute_many([enqueue("lost", "q7"), take])  # in one write: the worker is not faster
    taken_at = time.monotonic()
    assert isinstance(taken, tuple)
    assert [delivery.message.id for delivery in taken] == ["lost"]
    await aeventually(lambda: "lost" in worker.ran)
    assert lease / 1000 - 0.1 < worker.ran["lost"] - taken_at < lease / 1000 + LATE
    broker.close()


async def test_new_tasks_are_found_without_the_permission_to_be_notified(
    worker: IdleWorker, own_server: RedisServer
) -> None:
    skip_before_redis_7(own_server, "cannot forbid a subcommand")
    client = own_server.client
    client.execute_command("ACL", "SETUSER", "default", "-client|tracking")  # type: ignore[no-untyped-call]
    client.client_kill_filter(_type="pubsub", skipme=True)
    await aeventually(lambda: not worker.live)
    worker.broker.execute(enqueue("new", "q7"))
    await aeventually(lambda: "new" in worker.ran, 15)


async def test_a_busy_worker_finds_new_tasks_of_other_queues_without_listening(worker: IdleWorker) -> None:
    worker.followed = "q0"
    await worker.broker.aexecute_many([enqueue(f"first {number}", "q0") for number in range(10)])
    await aeventually(lambda: not worker.live)
    await worker.broker.aexecute(enqueue("new", "q50"))
    await aeventually(lambda: "new" in worker.ran)
    assert not worker.live
    worker.followed = ""
