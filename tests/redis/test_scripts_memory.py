"""The estimated memory of a queue: a few tasks of each state are measured as a sample."""

from __future__ import annotations

import pytest

from asynq.protocol.ops import Enqueue, GetMemory
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message

SAMPLED, MORE = 20, 4


def occupied(lab: ScriptLab, *keys: str) -> int:
    """The size of these keys according to the server."""
    return sum(lab.client.memory_usage(key) or 0 for key in keys)


def collect(lab: ScriptLab, collection: str, names: list[str]) -> None:
    """Enqueue these tasks into an empty queue, in this order."""
    for number, name in enumerate(names):
        if collection in ("pending", "active"):
            lab.client.lpush(f"asynq:{{q}}:{collection}", name)
        else:
            lab.client.zadd(f"asynq:{{q}}:{collection}", {name: number})


@pytest.mark.parametrize(
    "collection", [*(state.value for state in TaskState if state is not TaskState.AGGREGATING), "g:g"]
)
def test_the_first_tasks_of_a_state_are_measured_as_a_sample(lab: ScriptLab, collection: str) -> None:
    names = [f"{number:02d}" for number in range(SAMPLED + MORE)]
    lab.enqueue(*(message(name, payload=bytes(10 * number)) for number, name in enumerate(names)))
    lab.client.delete("asynq:{q}:pending")
    collect(lab, collection, names)
    expected = occupied(lab, f"asynq:{{q}}:{collection}")
    if collection == "g:g":
        lab.client.sadd("asynq:{q}:groups", "g")
        expected += occupied(lab, "asynq:{q}:groups")
    each = occupied(lab, *(f"asynq:{{q}}:t:{name}" for name in names[:SAMPLED])) / SAMPLED
    assert lab.one(GetMemory(queue="q")) == int(expected + each * len(names))


def test_some_groups_are_measured_as_a_sample(lab: ScriptLab) -> None:
    names = [f"g{number}" for number in range(8)]
    for name in names:
        lab.one(Enqueue(message=message(name, group=name), enqueue_id=name))
    of_one = occupied(lab, "asynq:{q}:g:g0", "asynq:{q}:t:g0")
    expected = occupied(lab, "asynq:{q}:groups") + len(names) * of_one
    assert lab.one(GetMemory(queue="q")) == expected
    lab.enqueue(message("p"))
    assert lab.one(GetMemory(queue="q")) == expected + occupied(lab, "asynq:{q}:pending", "asynq:{q}:t:p")
