"""Groups that become one task: by a server on every broker, and step by step."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from asynq.client.client import AsyncClient
from asynq.client.task import Task
from asynq.errors import AggregationError
from asynq.protocol import ops
from asynq.server import Server
from asynq.worker.aggregation import Aggregate, AggregationSettings
from asynq.worker.loops.aggregator import Aggregator
from asynq_sqlite import MemoryBroker
from tests.server.groups import MINUTE, add, groups, joined, pending
from tests.waiting import aeventually

if TYPE_CHECKING:
    from asynq.clock import FakeClock
    from asynq.protocol.broker import Broker
    from tests.server.conftest import ServerLab


async def joined_on_the_loop(group: str, tasks: list[Task]) -> Task:
    await asyncio.sleep(0)
    return joined(group, tasks)


def failing(group: str, tasks: list[Task]) -> Task:
    raise ValueError("no paper")


async def nothing(ctx: Any, task: Task) -> None:
    pass


# --- a server at work -----------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregator", [joined, joined_on_the_loop], ids=["sync", "async"])
async def test_tasks_of_a_group_are_handled_as_their_aggregate(lab: ServerLab, aggregator: Aggregate) -> None:
    seen: list[tuple[str, bytes, Any, int]] = []

    async def handler(ctx: Any, task: Task) -> None:
        seen.append((task.type, task.payload, dict(task.headers), ctx.max_retry))

    await add(lab.broker, "a", "b", "c")
    async with lab.serving(handler, aggregator=aggregator, group_max_size=3):
        await aeventually(lambda: seen)
        await aeventually(lambda: lab.broker.execute(ops.GetQueueStats(queue="default")).size == 0)
    assert seen == [("merged", b"a,b,c", {"group": "g"}, 3)]


async def test_a_shutdown_returns_the_tasks_being_aggregated(lab: ServerLab) -> None:
    begun = asyncio.Event()

    async def never(group: str, tasks: list[Task]) -> Task:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    await add(lab.broker, "a", "b")
    options: dict[str, Any] = {"aggregator": never, "group_max_size": 2}
    async with lab.serving(nothing, shutdown_timeout=timedelta(milliseconds=10), **options):
        await begun.wait()
    page = await lab.broker.aexecute(ops.ListGroups(queue="default"))
    assert [(group.name, group.size) for group in page.groups] == [("g", 2)]


async def test_the_error_hook_receives_the_error_of_an_aggregator(memory: ServerLab) -> None:
    told: list[tuple[Exception, Task, Any]] = []
    await add(memory.broker, "a", "b")
    async with memory.serving(
        nothing, aggregator=failing, group_max_size=2, on_error=lambda *args: told.append(args)
    ):
        await aeventually(lambda: told)
    error, task, ctx = told[0]
    assert isinstance(error, AggregationError)
    assert isinstance(error.__cause__, ValueError)
    assert (error.queue, error.group, error.size) == ("default", "g", 2)
    assert (task.payload, ctx) == (b"a", None)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"aggregator": 1}, "aggregator"),
        ({"group_grace_period": timedelta(milliseconds=999)}, "group_grace_period"),
        ({"group_grace_period": 60}, "group_grace_period"),
        ({"group_max_delay": timedelta(0)}, "group_max_delay"),
        ({"group_max_size": 0}, "group_max_size"),
        ({"group_max_size": 2.5}, "group_max_size"),
    ],
)
def test_invalid_aggregation_options_are_refused(options: dict[str, Any], name: str) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        Server(MemoryBroker(), **options)


# --- step by step ---------------------------------------------------------------------------------------


class Steps:
    """An aggregator whose steps the test makes, on a clock that only the test moves."""

    def __init__(self, broker: Broker, aggregate: Aggregate, **rules: int) -> None:
        self.errors: list[Exception] = []
        self.broker = broker
        self.aggregator = Aggregator(
            broker,
            ["default"],
            AggregationSettings(aggregate=aggregate, **{"grace": MINUTE, **rules}),
            rng=Random(1),
            on_aggregated=lambda _: None,
            report=lambda error, _: self.errors.append(error),
        )

    async def step(self) -> float:
        """Look once, and wait for what was begun."""
        pause = await self.aggregator.step()
        while running := list(self.aggregator._running.values()):
            await asyncio.wait(running)
        assert pause is not None
        return pause


async def test_the_next_check_is_when_the_next_group_is_ripe(broker: MemoryBroker, clock: FakeClock) -> None:
    steps = Steps(broker, joined)
    assert await steps.step() == 2.0
    await add(broker, "a")
    clock.advance(MINUTE - 1000)
    assert await steps.step() == pytest.approx(1.0)
    assert pending(broker) == []
    clock.advance(1000)
    await steps.step()
    assert pending(broker) == [b"a"]


async def test_a_large_group_is_aggregated_in_as_many_sets_as_it_takes(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    await add(broker, *"abcde")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, joined, max_size=2)
    await steps.step()
    assert pending(broker) == [b"a,b", b"c,d", b"e"]


async def test_any_number_of_groups_is_aggregated(broker: MemoryBroker, clock: FakeClock) -> None:
    for number in range(20):
        await add(broker, f"t{number:02}", group=f"g{number}")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, joined)
    await steps.step()
    assert sorted(pending(broker)) == [f"t{number:02}".encode() for number in range(20)]


async def test_a_slow_group_delays_no_other(broker: MemoryBroker, clock: FakeClock) -> None:
    async def slow_for_one(group: str, tasks: list[Task]) -> Task:
        if group == "slow":
            await asyncio.Event().wait()
        return joined(group, tasks)

    await add(broker, "a", group="slow")
    await add(broker, "b", group="swift")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, slow_for_one)
    await steps.aggregator.step()
    await aeventually(lambda: pending(broker) == [b"b"])
    await steps.aggregator.aclose()
    assert groups(broker) == {"slow": 1}


def no_task(group: str, tasks: list[Task]) -> Any:
    return None


def taken_id(group: str, tasks: list[Task]) -> Task:
    return Task("merged", task_id="taken")


def into_its_own_group(group: str, tasks: list[Task]) -> Task:
    return Task("merged", group=group)


def exiting(group: str, tasks: list[Task]) -> Task:
    raise SystemExit(3)


async def exiting_on_the_loop(group: str, tasks: list[Task]) -> Task:
    raise SystemExit(3)


async def cancelling_itself(group: str, tasks: list[Task]) -> Task:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("aggregator", "reason"),
    [
        (failing, "ValueError: no paper"),
        (no_task, "must return a Task, not NoneType"),
        (taken_id, "'taken'"),
        (into_its_own_group, "must not join group 'g'"),
        (exiting, "SystemExit: 3"),
        (exiting_on_the_loop, "SystemExit: 3"),
        (cancelling_itself, "CancelledError"),
    ],
)
async def test_a_failure_returns_the_tasks_and_is_reported(
    broker: MemoryBroker, clock: FakeClock, aggregator: Aggregate, reason: str
) -> None:
    async with AsyncClient(broker) as client:
        await client.enqueue(Task("x", task_id="taken", process_in=timedelta(days=1)))
    await add(broker, "a", "b")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, aggregator)
    await steps.step()
    assert groups(broker) == {"g": 2}
    (error,) = steps.errors
    assert reason in str(error)


async def test_a_failing_group_is_retried_with_increasing_pauses(
    broker: MemoryBroker, clock: FakeClock
) -> None:
    await add(broker, "a")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, failing)
    tries = []
    for _ in range(300):
        await steps.step()
        tries.append(len(steps.errors))
        clock.advance(1000)
    assert tries[0] == 1
    assert 5 < tries[-1] < 20
    assert tries[-1] - tries[-60] <= 2


async def test_the_aggregate_goes_to_the_queue_of_its_tasks(broker: MemoryBroker, clock: FakeClock) -> None:
    await add(broker, "a")
    clock.advance(2 * MINUTE)
    steps = Steps(broker, lambda group, tasks: Task("merged", "all", queue="elsewhere"))
    await steps.step()
    assert pending(broker) == [b"all"]
