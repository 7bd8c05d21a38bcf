"""What batches are worth, as ratios within one run: figures of one machine compare with nothing else.

Run by `tox -e bench`; no part of the ordinary tests, since a busy machine may spoil a ratio.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

import pytest

import asynq
from asynq.protocol.ops import MAX_BATCH, Dequeue, Done

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from tests.servers import RedisServer

TASKS = 1000
LEASE = 30_000


@pytest.fixture(params=["redis", "sqlite", "memory"])
def broker(
    request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer
) -> Iterator[tuple[str, Broker]]:
    brokers: dict[str, Callable[[], Broker]] = {
        "redis": lambda: asynq.RedisBroker(redis_server.url),
        "sqlite": lambda: asynq.SQLiteBroker(tmp_path / "tasks.db"),
        "memory": asynq.MemoryBroker,
    }
    made = brokers[request.param]()
    yield request.param, made
    made.close()


def seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def test_a_batch_of_enqueues_is_faster_than_as_many_calls(
    broker: tuple[str, Broker], record_property: Callable[[str, object], None]
) -> None:
    name, store = broker
    client = asynq.Client(store)
    tasks = [asynq.Task("bench", {"number": number}) for number in range(TASKS)]
    single = seconds(lambda: [client.enqueue(task) for task in tasks])
    batch = seconds(lambda: client.enqueue_many(tasks))
    record_property("line", f"{name:8} enqueue       {TASKS / single:9.0f}/s  many {TASKS / batch:9.0f}/s")
    assert batch < single


def test_a_batch_of_runs_is_faster_than_as_many_runs(
    broker: tuple[str, Broker], record_property: Callable[[str, object], None]
) -> None:
    name, store = broker
    client = asynq.Client(store)
    client.enqueue_many([asynq.Task("bench", {"number": number}) for number in range(2 * TASKS)])

    def drain(at_a_time: int) -> None:
        for call in range(TASKS // at_a_time):
            orders = (("default",),) * at_a_time
            taken = store.execute(Dequeue(orders=orders, token=f"{at_a_time}-{call}", lease=LEASE))
            assert store.execute_many([Done(delivery=delivery) for delivery in taken]) == [None] * at_a_time

    single = seconds(lambda: drain(1))
    batch = seconds(lambda: drain(MAX_BATCH))
    record_property("line", f"{name:8} take and done {TASKS / single:9.0f}/s  many {TASKS / batch:9.0f}/s")
    assert batch < single
