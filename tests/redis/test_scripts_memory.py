"""The estimated memory of a queue: a few tasks of each state are measured as a sample."""

from __future__ import annotations

import pytest

from asynq.protocol.ops import Enqueue, GetMemory
from asynq.task_state import TaskState
from tests.redis.driver import Driver, message

SAMPLED, MORE = 20, 4


def occupied(driver: Driver, *keys: str) -> int:
    """The size of these keys according to the server."""
    return sum(driver.client.memory_usage(key) or 0 for key in keys)


def collect(driver: Driver, collection: str, names: list[str]) -> None:
    """Enqueue these tasks into an empty queue, in this order."""
    for number, name in enumerate(names):
        if collection in ("pending", "active"):
            driver.client.lpush(f"asynq:{{q}}:{collection}", name)
        else:
            driver.client.zadd(f"asynq:{{q}}:{collection}", {name: number})


@pytest.mark.parametrize(
    "collection", [*(state.value for state in TaskState if state is not TaskState.AGGREGATING), "g:g"]
)
def test_the_first_tasks_of_a_state_are_measured_as_a_sample(driver: Driver, collection: str) -> None:
    names = [f"{number:02d}" for number in range(SAMPLED + MORE)]
    driver.enqueue(*(message(name, payload=bytes(10 * number)) for number, name in enumerate(names)))
    driver.client.delete("asynq:{q}:pending")
    collect(driver, collection, names)
    expected = occupied(driver, f"asynq:{{q}}:{collection}")
    if collection == "g:g":
        driver.client.sadd("asynq:{q}:groups", "g")
        expected += occupied(driver, "asynq:{q}:groups")
    each = occupied(driver, *(f"asynq:{{q}}:t:{name}" for name in names[:SAMPLED])) / SAMPLED
    assert driver.one(GetMemory(queue="q")) == int(expected + each * len(names))


def test_some_groups_are_measured_as_a_sample(driver: Driver) -> None:
    names = [f"g{number}" for number in range(8)]
    for name in names:
        driver.one(Enqueue(message=message(name, group=name), enqueue_id=name))
    of_one = occupied(driver, "asynq:{q}:g:g0", "asynq:{q}:t:g0")
    expected = occupied(driver, "asynq:{q}:groups") + len(names) * of_one
    assert driver.one(GetMemory(queue="q")) == expected
    driver.enqueue(message("p"))
    assert driver.one(GetMemory(queue="q")) == expected + occupied(
        driver, "asynq:{q}:pending", "asynq:{q}:t:p"
    )
