"""Type checkers know the types of results and progress. Passing the type check of the tests is the test."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from asynq import AsyncClient, Client, MemoryBroker, Task
from asynq.clock import FakeClock
from asynq.protocol.ops import Complete, Dequeue


async def test_the_types_of_results_are_those_that_were_asked_for() -> None:
    broker = MemoryBroker(clock=FakeClock())
    client, awaited = Client(broker), AsyncClient(broker)
    info = client.enqueue(Task("t"), retention=timedelta(hours=1))
    [delivery] = broker.execute(Dequeue(orders=(("default",),), token="x", lease=60_000))
    broker.execute(Complete(delivery=delivery, result=b"42"))

    assert_type(client.wait(info), bytes)
    assert_type(client.wait(task_id=info.id, result=int), int)
    assert_type(await awaited.wait(task_id=info.id, queue="default", result=int), int)
    for ended in client.as_completed([info], result=int):
        assert_type(ended.result(), int)
    async for each in awaited.as_completed([info]):
        assert_type(each.result(), bytes)
    for progress in client.stream(info, progress=dict[str, int]):
        assert_type(progress, dict[str, int])
    async for step in awaited.stream(task_id=info.id):
        assert_type(step, bytes)
    client.close()
    await awaited.aclose()
