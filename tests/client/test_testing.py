"""The test helpers for users: enqueued tasks run within the test, in order, as on a server."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import asynq
from asynq.protocol.ops import Dequeue, ListLostLeases, Recover
from asynq.task_state import TaskState
from asynq.testing import (
    FakeClock,
    FakeContext,
    TaskRun,
    arun_until_idle,
    assert_enqueued,
    enqueued,
    run_until_idle,
)
from tests.unit.process_handlers import pid

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Runner = Callable[..., Awaitable[list[TaskRun]]]

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(clock: FakeClock) -> Iterator[asynq.MemoryBroker]:
    broker = asynq.MemoryBroker(clock=clock)
    yield broker
    broker.close()


@pytest.fixture
def client(broker: asynq.MemoryBroker) -> asynq.Client:
    return asynq.Client(broker)


@pytest.fixture(params=["called", "awaited"])
def run(request: pytest.FixtureRequest) -> Runner:
    async def called(*args: Any, **options: Any) -> list[TaskRun]:
        return run_until_idle(*args, **options)

    return called if request.param == "called" else arun_until_idle


@pytest.fixture
def mux(client: asynq.Client) -> asynq.ServeMux:
    mux = asynq.ServeMux()

    @mux.handler("async")
    async def coroutine(ctx: asynq.Context, task: asynq.Task) -> bytes:
        return b"a" + task.payload

    @mux.handler("plain")
    def plain(ctx: asynq.Context, task: asynq.Task) -> str:
        client.enqueue(asynq.Task("async", b"2"))
        return "p"

    @mux.handler("fails")
    async def fails(ctx: asynq.Context, task: asynq.Task) -> None:
        raise ValueError("boom")

    @mux.handler("feeds")
    async def feeds(ctx: asynq.Context, task: asynq.Task) -> None:
        client.enqueue(task)

    return mux


async def test_all_due_tasks_run_in_order_including_new_ones(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux
) -> None:
    client.enqueue(asynq.Task("plain"))
    client.enqueue(asynq.Task("async", b"1"), queue="other", retention=HOUR, task_id="kept")
    runs = await run(broker, mux, queues=["default", "other"])
    assert [(done.task.type, done.queue, done.result) for done in runs] == [
        ("plain", "default", b"p"),
        ("async", "default", b"a2"),
        ("async", "other", b"a1"),
    ]
    assert await run(broker, mux) == []
    assert asynq.Inspector(broker).task("other", "kept").result == b"a1"


async def test_scheduled_tasks_run_after_the_clock_has_moved(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux, clock: FakeClock
) -> None:
    client.enqueue(asynq.Task("async"), process_in=HOUR)
    clock.advance(HOUR - timedelta(milliseconds=1))
    assert await run(broker, mux) == []
    clock.advance(1)
    assert len(await run(broker, mux)) == 1


async def test_the_error_of_a_handler_is_raised_after_its_task_is_settled(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux
) -> None:
    info = client.enqueue(asynq.Task("fails"))
    with pytest.raises(ValueError, match="boom"):
        await run(broker, mux)
    assert asynq.Inspector(broker).task("default", info.id).state is TaskState.RETRY


async def test_each_move_of_the_clock_runs_one_retry(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux, clock: FakeClock
) -> None:
    info = client.enqueue(asynq.Task("fails"), max_retry=1)
    options: dict[str, Any] = {"raise_errors": False, "retry_delay": lambda *_: timedelta(minutes=1)}
    [first] = await run(broker, mux, **options)
    assert await run(broker, mux, **options) == []
    clock.advance(timedelta(minutes=1))
    [last] = await run(broker, mux, **options)
    assert (str(first.error), first.retried, last.retried) == ("boom", 0, 1)
    assert asynq.Inspector(broker).task("default", info.id).state is TaskState.ARCHIVED


async def test_tasks_that_enqueue_themselves_endlessly_are_detected(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux
) -> None:
    client.enqueue(asynq.Task("feeds"))
    with pytest.raises(RuntimeError, match="20 runs"):
        await run(broker, mux, most=20)


async def test_draining_an_empty_broker_runs_no_task(
    run: Runner, broker: asynq.Broker, mux: asynq.ServeMux
) -> None:
    assert await run(broker, mux) == []


async def test_a_text_in_place_of_queues_is_refused(
    run: Runner, broker: asynq.Broker, mux: asynq.ServeMux
) -> None:
    with pytest.raises(TypeError, match="queues must be a collection of names, not 'default'"):
        await run(broker, mux, queues="default")


def test_waiting_tasks_are_listed_by_queue_and_type(broker: asynq.Broker, client: asynq.Client) -> None:
    client.enqueue(asynq.Task("a"), process_in=HOUR)
    client.enqueue(asynq.Task("a"))
    client.enqueue(asynq.Task("b"), queue="low", group="g")
    listed = [(info.type, info.state.value) for info in enqueued(broker)]
    assert listed == [("a", "pending"), ("a", "scheduled"), ("b", "aggregating")]
    assert [info.queue for info in enqueued(broker, "b")] == ["low"]
    assert enqueued(broker, "a", queue="low") == enqueued(broker, queue="unknown") == []


def test_an_assertion_passes_for_an_enqueued_task(broker: asynq.Broker, client: asynq.Client) -> None:
    info = client.enqueue(asynq.Task("a", {"user": 1}), queue="low")
    client.enqueue(asynq.Task("a"))
    assert [found.id for found in assert_enqueued(broker, "a", payload={"user": 1}, queue="low")] == [info.id]
    assert_enqueued(broker, "a", payload=None)
    assert_enqueued(broker, "a", times=2)
    assert_enqueued(broker, "b", times=0)


@attrs.frozen
class Order:
    user: int
    lines: dict[str, int]


@pytest.mark.parametrize(
    "given",
    [Order(1, {"b": 1, "a": 2}), b'{ "user": 1, "lines": {"b": 1, "\\u0061": 2} }'],
    ids=["class", "text"],
)
def test_an_assertion_compares_json_by_value(
    broker: asynq.Broker, client: asynq.Client, given: object
) -> None:
    client.enqueue(asynq.Task("a", given))
    assert_enqueued(broker, "a", payload={"user": 1, "lines": {"a": 2, "b": 1}})
    assert_enqueued(broker, "a", payload=Order(1, {"a": 2, "b": 1}))
    assert_enqueued(broker, "a", payload={"user": True, "lines": {"a": 2, "b": 1}}, times=0)
    assert_enqueued(broker, "a", payload={"user": 1, "lines": {"a": 2}}, times=0)
    assert_enqueued(broker, "a", payload='{"lines":{"a":2,"b":1},"user":1}', times=0)


def test_an_assertion_ignores_payloads_that_are_not_json(broker: asynq.Broker, client: asynq.Client) -> None:
    for payload in (b"\xff", b"[" * 100_000, b"[NaN]", b""):
        client.enqueue(asynq.Task("a", payload))
    assert_enqueued(broker, "a", payload=[1], times=0)


@pytest.mark.parametrize(
    "wanted",
    [{"payload": {"user": 2}}, {"queue": "high"}, {"times": 0}, {"times": 2}],
)
def test_a_failed_assertion_lists_the_enqueued_tasks(
    broker: asynq.Broker, client: asynq.Client, wanted: dict[str, Any]
) -> None:
    client.enqueue(asynq.Task("a", {"user": 1}), queue="low")
    with pytest.raises(AssertionError, match=r"found [01]; waiting are:\n  a b'.*' in 'low'"):
        assert_enqueued(broker, "a", **wanted)


def test_the_fixtures_provide_each_test_with_its_own_broker_and_clock(
    asynq_broker: asynq.MemoryBroker, asynq_clock: FakeClock
) -> None:
    assert asynq_broker.clock is asynq_clock
    asynq.Client(asynq_broker).enqueue(asynq.Task("a"), process_in=HOUR)
    asynq_clock.advance(HOUR)
    assert len(run_until_idle(asynq_broker, lambda ctx, task: None)) == 1


async def test_a_url_is_accepted_in_place_of_a_broker(run: Runner, mux: asynq.ServeMux) -> None:
    url = "memory://tests-of-testing"
    with asynq.Client(url) as client:
        client.enqueue(asynq.Task("async", b"1"))
        assert len(assert_enqueued(url, "async")) == len(enqueued(url)) == 1
        assert [done.result for done in await run(url, mux)] == [b"a1"]
    with pytest.raises(TypeError, match="a Broker or a URL"):
        await run(asynq.MemoryBroker, mux)


async def test_a_cancelled_task_has_not_succeeded(
    run: Runner, broker: asynq.Broker, client: asynq.Client, mux: asynq.ServeMux, clock: FakeClock
) -> None:
    info = client.enqueue(asynq.Task("async"))
    broker.execute(Dequeue(orders=(("default",),), token="lost", lease=1000))
    assert asynq.Inspector(broker).cancel(info.id)
    clock.advance(1000)
    [lost] = broker.execute(ListLostLeases(queue="default")).leases
    broker.execute(Recover(lost=lost, to="pending", error="lost"))
    with pytest.raises(asynq.TaskCancelledError):
        await run(broker, mux)
    assert asynq.Inspector(broker).task("default", info.id).state is TaskState.ARCHIVED


def test_handlers_get_the_state_of_the_test() -> None:
    broker, found = asynq.MemoryBroker(), list[object]()
    with asynq.Client(broker) as client:
        client.enqueue(asynq.Task("t"))
    run_until_idle(broker, lambda ctx, task: found.append(ctx.state), state="state")
    assert found == ["state"]


def test_definitions_and_tasks_stand_for_what_is_enqueued() -> None:
    broker, mux = asynq.MemoryBroker(), asynq.ServeMux()

    @mux.task("sum")
    def add(first: int, second: int = 2) -> int:
        return first + second

    pair = asynq.TaskType("pair", list[int])
    with asynq.Client(broker) as client:
        client.enqueue_many([add(1), asynq.Task("sum", b'{"second": 5, "first": 4}'), pair([1, 2])])
    assert_enqueued(broker, add, times=2)
    assert_enqueued(broker, add(1))
    assert_enqueued(broker, add(4, 5))
    assert_enqueued(broker, pair, payload=[1, 2])
    with pytest.raises(AssertionError, match="expected 1 task"):
        assert_enqueued(broker, add(7))


async def test_a_fake_context_stands_for_a_run() -> None:
    broker = asynq.MemoryBroker()
    ctx = FakeContext(broker, state="state", task_id="7", queue="q", headers={"h": "1"}, retried=2)
    assert (ctx.state, ctx.task_id, ctx.queue, ctx.headers) == ("state", "7", "q", {"h": "1"})
    assert (ctx.retried, ctx.max_retry, ctx.lease_losses, ctx.cancel_reason) == (2, 25, 0, None)
    await ctx.write_result(b"one")
    ctx.write_result_sync({"two": 2})
    assert ctx.results == [b"one", b'{"two":2}']
    ctx.raise_if_cancelled()
    ctx.cancel()
    with pytest.raises(asynq.TaskCancelledError, match="operator"):
        ctx.raise_if_cancelled()


async def test_muxes_and_middlewares_can_be_called_with_a_fake_context() -> None:
    mux = asynq.ServeMux()

    @mux.handler("t")
    def in_a_thread(ctx: asynq.Context, task: asynq.Task) -> str:
        return f"{ctx.task_id} {task.text}"

    @mux.middleware
    async def around(ctx: asynq.Context, task: asynq.Task, next: asynq.Next) -> Any:  # noqa: A002
        return f"<{await next(ctx, task)}>"

    ctx = FakeContext(asynq.MemoryBroker())
    assert await mux(ctx, asynq.Task("t", "text")) == "<fake text>"


async def test_a_handler_for_a_process_runs_in_one(
    broker: asynq.MemoryBroker, client: asynq.Client, run: Runner
) -> None:
    mux = asynq.ServeMux()
    mux.handle("pid", pid, executor="process")
    client.enqueue(asynq.Task("pid"), retention=HOUR)
    [ran] = await run(broker, mux)
    assert ran.result
    assert int(ran.result) != os.getpid()
