"""Servers at work on every broker, in this process and in others."""

from __future__ import annotations

import subprocess
import sys
import uuid
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import define

from asynq.clock import FakeClock, SystemClock
from asynq.errors import TaskNotFoundError
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.protocol.ops import Enqueue, GetTask
from asynq.server import Server
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.programs import program_environment
from tests.waiting import aeventually

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable, Iterator

    from asynq.handlers.adapters import Handler
    from asynq.protocol.broker import Broker

APP = str(Path(__file__).with_name("app.py"))


@define
class ServerLab:
    """A broker, and what tests do with it."""

    broker: Broker

    async def enqueue(self, type: str = "t", payload: bytes = b"", **options: Any) -> str:  # noqa: A002
        """Make a task known; its id."""
        delay = options.pop("process_in", None)
        options = {"id": uuid.uuid4().hex, "queue": "default", **options}
        message = TaskMessage(type=type, payload=payload, **options)
        await self.broker.aexecute(Enqueue(message=message, enqueue_id="e", process_in=delay))
        return message.id

    async def find(self, task_id: str, queue: str = "default") -> StoredTask | None:
        """The task as it is now, None when it is gone."""
        try:
            return await self.broker.aexecute(GetTask(queue=queue, task_id=task_id))
        except TaskNotFoundError:
            return None

    async def reaches(self, task_id: str, *states: TaskState | None, queue: str = "default") -> Any:
        """Wait until the task is in one of the states (None: gone); the task."""
        stored: StoredTask | None = None

        async def reached() -> bool:
            nonlocal stored
            stored = await self.find(task_id, queue)
            return (stored and stored.state) in states

        await aeventually(reached, explain=lambda: f"the task is {stored}")
        return stored

    async def keeps_its_lease(self, task_id: str, *, beyond: float) -> None:
        """Wait until the lease of a running task has been extended by more than so many seconds."""
        first = await self.find(task_id)
        assert first

        async def extended() -> bool:
            stored = await self.find(task_id)
            assert stored, "the task is gone"
            assert stored.state is TaskState.ACTIVE
            return stored.due_at > first.due_at + beyond * 1000

        await aeventually(extended)

    @asynccontextmanager
    async def serving(self, handler: Handler, **options: Any) -> AsyncIterator[Server]:
        """A server at work."""
        options = {"shutdown_timeout": timedelta(seconds=2), "concurrency": 4, **options}
        server = Server(self.broker, **options)
        await server.start(handler)
        try:
            yield server
        finally:
            await server.shutdown()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a broker is."""
    if request.param == "redis":
        server: str = request.getfixturevalue("redis_server").url
        return server
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'tasks.db'}"


def open_broker(url: str) -> Broker:
    """A broker of its own."""
    if url.startswith("memory"):
        return MemoryBroker()
    return SQLiteBroker(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else RedisBroker(url)


@asynccontextmanager
async def opened(broker: Broker) -> AsyncIterator[ServerLab]:
    """A lab with this broker, which is closed in the end."""
    yield ServerLab(broker)
    await broker.aclose()
    broker.close()


@pytest.fixture
async def lab(url: str) -> AsyncIterator[ServerLab]:
    """A broker of each kind."""
    async with opened(open_broker(url)) as lab:
        yield lab


@pytest.fixture
async def memory() -> AsyncIterator[ServerLab]:
    """A broker in memory, for what does not depend on the broker."""
    async with opened(MemoryBroker(clock=SystemClock())) as lab:
        yield lab


@pytest.fixture
def clock() -> FakeClock:
    """A clock that only the test moves."""
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> Iterator[MemoryBroker]:
    """A broker in memory that goes by that clock."""
    broker = MemoryBroker(clock=clock)
    yield broker
    broker.close()


class Worker:
    """A worker in a process of its own, running `app.py`."""

    def __init__(
        self, url: str, directory: Path, *, lease: float, shutdown: float = 5, same_request: float = 60
    ) -> None:
        self.log = directory / "runs"
        self.log.touch()
        arguments = [url, str(lease), str(shutdown), str(same_request), str(self.log)]
        environment = program_environment()
        self.process = subprocess.Popen([sys.executable, APP, *arguments], env=environment)

    @property
    def runs(self) -> list[str]:
        """What the workers that share this directory noted."""
        return [line.split()[0] for line in self.log.read_text().splitlines()]

    async def noted(self, *expected: str) -> None:
        """Wait until exactly this was noted."""
        await aeventually(lambda: self.runs == list(expected))

    async def guarded(self) -> None:
        """Wait until the worker's lease keeper process is ready."""
        await aeventually(Path(f"{self.log}.ready").exists)

    def release(self) -> None:
        """Let handlers end that wait for it."""
        self.log.with_suffix(".released").touch()

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the process to end; its status."""
        await aeventually(lambda: self.process.poll() is not None)
        return self.process.returncode

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start_worker(shared_url: str, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Starts workers on a broker that several processes share."""
    workers: list[Worker] = []

    def start(**options: Any) -> Worker:
        workers.append(Worker(shared_url, tmp_path, **options))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


@pytest.fixture
async def shared(shared_url: str) -> AsyncIterator[ServerLab]:
    """A broker that the workers of `start_worker` use too."""
    async with opened(open_broker(shared_url)) as lab:
        yield lab
