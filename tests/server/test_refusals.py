"""Values that a store refuses for good: each costs its own task, and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, Context, PayloadTooLargeError, ResultTooLargeError, Task, TaskInfo
from asynq.errors import AggregationError
from asynq.protocol.ops import DEQUEUE_SOFT_LIMIT_BYTES, Archive, GetQueueStats, Retry
from asynq.task_state import TaskState
from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker, SQLiteBroker
from asynq_sqlite.store.task_store import TaskStore
from tests.server.conftest import ServerLab
from tests.servers import RedisServer
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from asynq.protocol.broker import Broker

MB = 1 << 20
HOUR = timedelta(hours=1)


def narrow_store(connection: sqlite3.Connection) -> TaskStore:
    """What takes no more than 1 MB, as SQLite may be built."""
    import sqlite3

    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MB)
    return TaskStore(connection)


STORES = ("memory", "sqlite", "redis")


@pytest.fixture
def narrow_redis() -> Iterator[RedisServer]:
    """A server that takes no more than 1 MB."""
    with RedisServer.start("--proto-max-bulk-len", "1mb") as server:
        yield server


def narrow(store: str, path: Path, request: pytest.FixtureRequest) -> Broker:
    """A broker whose store takes less than the broker knows."""
    if store == "memory":
        return MemoryBroker(store=narrow_store)
    if store == "sqlite":
        return SQLiteBroker(path / "tasks.db", durability="process", store=narrow_store)
    return RedisBroker(request.getfixturevalue("narrow_redis").url)


def limited(store: str, path: Path, request: pytest.FixtureRequest) -> Broker:
    """A broker that was told to take 1 KiB."""
    if store == "memory":
        return MemoryBroker(max_value_bytes=1024)
    if store == "sqlite":
        return SQLiteBroker(path / "tasks.db", durability="process", max_value_bytes=1024)
    return RedisBroker(request.getfixturevalue("redis_server").url, max_value_bytes=1024)


@pytest.fixture(
    params=[(kind, store) for kind in (narrow, limited) for store in STORES],
    ids=lambda param: f"{param[0].__name__}-{param[1]}",
)
async def lab(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ServerLab]:
    """Each store, as one that refuses and behind a broker that does not even ask it."""
    kind, store = request.param
    broker: Broker = kind(store, tmp_path, request)
    yield ServerLab(broker)
    await broker.aclose()
    broker.close()


async def test_refused_results_do_not_block_other_tasks(
    lab: ServerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: Counter[str] = Counter()
    told: list[tuple[str, type[Exception]]] = []

    async def handler(ctx: Context, task: Task) -> bytes | None:
        ran[task.type] += 1
        return bytes(3 * MB) if task.type == "large" else b"small"

    def archived(error: Exception, task: Task, ctx: Context | None) -> None:
        told.append((task.type, type(error)))

    large = [await lab.enqueue("large", retention=60) for _ in range(12)]
    small = [await lab.enqueue("small", retention=60) for _ in range(300)]
    monkeypatch.setattr("asynq.worker.processor.SETTLE_TIMEOUT", 3600)
    async with asyncio.timeout(PATIENCE), lab.serving(handler, on_archive=archived):
        for task_id in small:
            await lab.reaches(task_id, TaskState.COMPLETED)
        for task_id in large:
            stored = await lab.reaches(task_id, TaskState.ARCHIVED)
            assert "the result of task" in stored.message.error
            assert f"it has {3 * MB} bytes" in stored.message.error
    assert ran == {"large": 12, "small": 300}
    assert told == [("large", ResultTooLargeError)] * 12


async def test_a_result_that_is_not_kept_is_not_checked(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> bytes:
        return bytes(3 * MB)

    async with lab.serving(handler):
        await lab.reaches(await lab.enqueue(), None)


async def test_a_refused_written_result_raises_in_the_handler(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> str:
        await ctx.write_result(b"progress")
        with pytest.raises(ResultTooLargeError):
            await ctx.write_result(bytes(3 * MB))
        with pytest.raises(ResultTooLargeError):
            await asyncio.to_thread(ctx.write_result_sync, bytes(3 * MB))
        return "short"

    async with lab.serving(handler):
        stored = await lab.reaches(await lab.enqueue(retention=60), TaskState.COMPLETED)
    assert stored.result == b"short"


async def test_an_unhandled_refusal_of_a_result_is_not_retried(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        await ctx.write_result(bytes(3 * MB))

    async with lab.serving(handler):
        stored = await lab.reaches(await lab.enqueue(retention=60), TaskState.ARCHIVED)
    assert stored.message.retried == 0


async def test_a_client_receives_the_refusal_of_each_task(lab: ServerLab) -> None:
    tasks = [Task("t", b"a"), Task("t", bytes(3 * MB)), Task("t", b"b")]
    with Client(lab.broker) as client:
        first, refused, last = await asyncio.to_thread(client.enqueue_many, tasks)
        with pytest.raises(PayloadTooLargeError, match="the payload of task 'x' of queue 'default'"):
            await asyncio.to_thread(partial(client.enqueue, tasks[1], task_id="x"))
    assert isinstance(refused, PayloadTooLargeError)
    assert isinstance(first, TaskInfo)
    assert isinstance(last, TaskInfo)
    stats = await lab.broker.aexecute(GetQueueStats(queue="default"))
    assert stats.pending == 2


async def test_a_refused_aggregate_leaves_its_tasks_in_their_group(lab: ServerLab) -> None:
    told: list[Exception] = []

    async with lab.serving(
        small,
        aggregator=lambda group, tasks: Task("large", bytes(3 * MB)),
        group_grace_period=timedelta(seconds=1),
        group_max_size=1,
        on_error=lambda error, task, ctx: told.append(error),
    ):
        task_id = await lab.enqueue(group="g")
        await aeventually(lambda: told)
        stored = await lab.reaches(task_id, TaskState.AGGREGATING)
    assert stored is not None
    [error, *_] = told
    assert isinstance(error, AggregationError)
    assert "is not stored" in error.reason


class Particular(MemoryBroker):
    """Refuses settlements for good as a test says."""

    def __init__(self, *refused: type[Any], most: int = 0) -> None:
        super().__init__()
        self.refused, self.most = refused, most
        self.asked: Counter[str] = Counter()

    async def aexecute_many(self, ops: Any, /) -> Any:
        refused = [isinstance(op, self.refused) and len(op.error) >= self.most for op in ops]
        self.asked.update(type(op).__name__ for op, no in zip(ops, refused, strict=True) if no)
        sent = [op for op, no in zip(ops, refused, strict=True) if not no]
        answers = iter(await super().aexecute_many(sent) if sent else ())
        return [PayloadTooLargeError("default", "t", 99, 9) if no else next(answers) for no in refused]


async def small(ctx: Context, task: Task) -> None: ...


async def fail(ctx: Context, task: Task) -> None:
    raise ValueError("why " * 1000)


async def test_a_refused_error_text_is_shortened() -> None:
    broker = Particular(Retry, most=1000)
    lab = ServerLab(broker)
    async with lab.serving(fail):
        stored = await lab.reaches(await lab.enqueue(id="t"), TaskState.RETRY)
    assert stored.message.error.startswith("ValueError: why why")
    assert len(stored.message.error) == 200
    assert stored.message.retried == 1
    broker.close()


async def test_a_task_with_a_refused_retry_is_archived() -> None:
    broker = Particular(Retry)
    lab = ServerLab(broker)
    async with lab.serving(fail):
        stored = await lab.reaches(await lab.enqueue(id="t"), TaskState.ARCHIVED)
    assert "is not stored" in stored.message.error
    broker.close()


async def test_a_task_that_cannot_be_archived_either_is_released(caplog: pytest.LogCaptureFixture) -> None:
    broker = Particular(Retry, Archive)
    lab = ServerLab(broker)
    async with lab.serving(fail):
        await lab.enqueue(id="t")
        await aeventually(lambda: "cannot be settled" in caplog.text)
    assert broker.asked["Retry"] == 2
    assert broker.asked["Archive"] == 1
    broker.close()


@pytest.mark.parametrize("lab", [(limited, store) for store in STORES], indirect=True, ids=STORES)
async def test_a_value_of_exactly_the_limit_is_stored(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> bytes:
        return task.payload

    async with lab.serving(handler):
        task_id = await lab.enqueue(payload=bytes(1024), retention=60)
        stored = await lab.reaches(task_id, TaskState.COMPLETED)
    assert stored.result == bytes(1024)
    with pytest.raises(PayloadTooLargeError):
        await lab.enqueue(payload=bytes(1025))
    assert lab.broker.capabilities.max_value_bytes == 1024


@pytest.mark.parametrize("make", [MemoryBroker, partial(SQLiteBroker, "tasks.db"), RedisBroker])
@pytest.mark.parametrize(("limit", "error"), [(0, ValueError), (-1, ValueError), ("1", TypeError)])
def test_an_invalid_size_limit_is_refused(make: Any, limit: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_value_bytes"):
        make(max_value_bytes=limit)


async def test_many_large_tasks_run_concurrently(redis_server: RedisServer) -> None:
    """A fetch does not take all of them, but the next one follows at once."""
    running, all_run = 0, asyncio.Event()

    async def handler(ctx: Context, task: Task) -> None:
        nonlocal running
        running += 1
        if running == 6:
            all_run.set()
        await all_run.wait()

    broker = RedisBroker(redis_server.url)
    lab = ServerLab(broker)
    ids = [await lab.enqueue(payload=bytes(DEQUEUE_SOFT_LIMIT_BYTES)) for _ in range(6)]
    async with lab.serving(handler, concurrency=10):
        async with asyncio.timeout(4):  # less than the poll of an idle worker
            await all_run.wait()
        for task_id in ids:
            await lab.reaches(task_id, None)
    await broker.aclose()
    broker.close()
