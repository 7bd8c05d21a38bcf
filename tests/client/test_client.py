"""Clients on the embedded brokers. The operations themselves are tested by the laws."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from asynq import (
    AsyncClient,
    BrokerRefusedError,
    Client,
    DuplicateTaskError,
    MemoryBroker,
    SQLiteBroker,
    Task,
    TaskIDConflictError,
    TaskInfo,
    TaskState,
)
from asynq.clock import FakeClock
from asynq.protocol.ops import GetTask, ListQueues, ListTasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import StoredTask

NOW = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(1_700_000_000_000)


@pytest.fixture
def broker(clock: FakeClock) -> MemoryBroker:
    return MemoryBroker(clock=clock)


@pytest.fixture(params=["called", "awaited"])
def ask(request: pytest.FixtureRequest, broker: MemoryBroker) -> Callable[..., Awaitable[Any]]:
    """Calls a method of a client of the broker: `await ask("enqueue", task, queue="low")`."""

    async def called(verb: str, *args: Any, **options: Any) -> Any:
        return getattr(Client(broker), verb)(*args, **options)

    async def awaited(verb: str, *args: Any, **options: Any) -> Any:
        return await getattr(AsyncClient(broker), verb)(*args, **options)

    return called if request.param == "called" else awaited


def stored(broker: Broker, info: TaskInfo) -> StoredTask:
    return broker.execute(GetTask(queue=info.queue, task_id=info.id))


async def test_an_enqueued_task_is_pending_as_its_info_says(ask: Any, broker: MemoryBroker) -> None:
    info = await ask("enqueue", Task("t", b"x", headers={"h": "1"}), retention=HOUR)
    assert (info.state, info.queue, info.next_process_at) == (TaskState.PENDING, "default", NOW)
    assert TaskInfo.of(stored(broker, info)) == info


async def test_a_task_with_a_future_time_is_scheduled_as_its_info_says(
    ask: Any, broker: MemoryBroker
) -> None:
    info = await ask("enqueue", Task("t"), process_in=timedelta(hours=24))
    assert (info.state, info.next_process_at) == (TaskState.SCHEDULED, NOW + timedelta(hours=24))
    assert TaskInfo.of(stored(broker, info)) == info


def counted() -> Callable[[], str]:
    """A function that counts from 1, as it does again in the next process."""
    numbers = count(1)
    return lambda: str(next(numbers))


@pytest.mark.parametrize("new_id", [lambda: lambda: "1", counted])
@pytest.mark.parametrize("kind", [Client, AsyncClient])
async def test_an_id_that_the_users_function_repeats_is_a_conflict(
    broker: MemoryBroker, kind: Any, new_id: Callable[[], Callable[[], str]]
) -> None:
    """If it were taken for a copy of the first call, the second task would be lost without an error."""

    async def enqueued() -> TaskInfo:
        info = kind(broker, new_id=new_id()).enqueue(Task("t"))
        return await info if kind is AsyncClient else info  # type: ignore[no-any-return]

    assert (await enqueued()).id == "1"
    with pytest.raises(TaskIDConflictError):
        await enqueued()


async def test_an_id_of_an_earlier_task_is_a_conflict(ask: Any) -> None:
    info = await ask("enqueue", Task("t"))
    with pytest.raises(TaskIDConflictError):
        await ask("enqueue", Task("t"), task_id=info.id)


async def test_a_task_with_a_past_time_is_enqueued_as_pending(ask: Any) -> None:
    assert (await ask("enqueue", Task("t"), process_at=NOW - HOUR)).state is TaskState.PENDING


async def test_a_task_with_a_group_waits_in_the_group(ask: Any, broker: MemoryBroker) -> None:
    info = await ask("enqueue", Task("t"), group="invoices")
    assert (info.state, info.group, info.next_process_at) == (TaskState.AGGREGATING, "invoices", None)
    assert stored(broker, info).state is TaskState.AGGREGATING


async def test_a_unique_task_is_refused_while_another_holds_the_lock(ask: Any, clock: FakeClock) -> None:
    await ask("enqueue", Task("t", b"x"), unique=HOUR)
    with pytest.raises(DuplicateTaskError):
        await ask("enqueue", Task("t", b"x"), unique=HOUR)
    clock.advance(3_600_000)
    await ask("enqueue", Task("t", b"x"), unique=HOUR)


async def test_an_id_in_use_is_refused(ask: Any) -> None:
    await ask("enqueue", Task("t"), task_id="order-7")
    with pytest.raises(TaskIDConflictError) as refused:
        await ask("enqueue", Task("t"), task_id="order-7")
    assert (refused.value.queue, refused.value.task_id) == ("default", "order-7")


async def test_misuse_is_refused_before_anything_is_sent(ask: Any, broker: MemoryBroker) -> None:
    with pytest.raises(ValueError, match="queue"):
        await ask("enqueue", Task("t"), queue="")
    with pytest.raises(TypeError, match=r"asynq\.Task"):
        await ask("enqueue", "t")
    with pytest.raises(ValueError, match="keep_unique"):
        await ask("enqueue_many", [Task("t"), Task("t", keep_unique=True)])
    with pytest.raises(ValueError, match=r"^task_id must"):
        await ask("retry", "default", " ")
    with pytest.raises(TypeError, match=r"^queue must"):
        await ask("retry", 1, "t")
    assert broker.execute(ListQueues()) == ()


async def test_a_batch_returns_an_answer_for_each_task_in_order(ask: Any) -> None:
    answers = await ask(
        "enqueue_many",
        [
            Task("a", task_id="1"),
            Task("b", task_id="1"),
            Task("c", queue="low", process_in=HOUR),
            Task("d", unique=HOUR, group="g"),
            Task("d", unique=HOUR),
        ],
    )
    assert [type(answer) for answer in answers] == [
        TaskInfo,
        TaskIDConflictError,
        TaskInfo,
        TaskInfo,
        DuplicateTaskError,
    ]
    assert [answers[n].state for n in (0, 2, 3)] == [
        TaskState.PENDING,
        TaskState.SCHEDULED,
        TaskState.AGGREGATING,
    ]


async def test_a_batch_keeps_its_order_within_a_queue(ask: Any, broker: MemoryBroker) -> None:
    infos = await ask("enqueue_many", (Task("t", str(n)) for n in range(120)))
    listed = broker.execute(ListTasks(queue="default", state=TaskState.PENDING, limit=200))
    assert [task.message.id for task in listed] == [info.id for info in infos]


async def test_options_of_a_batch_call_apply_to_all_its_tasks(ask: Any) -> None:
    infos = await ask("enqueue_many", [Task("a"), Task("b", queue="high")], queue="low")
    assert [info.queue for info in infos] == ["low", "low"]


async def test_an_empty_batch_returns_an_empty_list(ask: Any) -> None:
    assert await ask("enqueue_many", []) == []


async def test_ping_returns_when_the_broker_answers(ask: Any) -> None:
    assert await ask("ping") is None


async def test_ping_raises_the_error_of_the_broker(tmp_path: Path) -> None:
    broker = SQLiteBroker(str(tmp_path / "no" / "such" / "directory.db"))
    with pytest.raises(BrokerRefusedError):
        Client(broker).ping()
    async with AsyncClient(broker) as client:
        with pytest.raises(BrokerRefusedError):
            await client.ping()


def test_one_client_serves_many_threads(broker: MemoryBroker) -> None:
    client = Client(broker)
    with ThreadPoolExecutor(8) as threads:
        infos = list(threads.map(lambda n: client.enqueue(Task("t", str(n))), range(100)))
    assert len({info.id for info in infos}) == 100


def test_a_client_closes_its_own_broker_and_can_be_used_again(tmp_path: Path) -> None:
    with Client(f"sqlite:///{tmp_path}/tasks.db") as client:
        client.enqueue(Task("t"), task_id="1")
    with pytest.raises(TaskIDConflictError):
        client.enqueue(Task("t"), task_id="1")
    client.close()


def test_a_client_does_not_close_a_given_broker(broker: MemoryBroker) -> None:
    with Client(broker) as client:
        info = client.enqueue(Task("t"))
    assert stored(broker, info).state is TaskState.PENDING


def test_both_clients_have_the_same_methods_with_the_same_arguments() -> None:
    for verb in ("enqueue", "enqueue_many", "ping"):
        plain, awaited = getattr(Client, verb), getattr(AsyncClient, verb)
        assert inspect.signature(plain) == inspect.signature(awaited)
        assert inspect.iscoroutinefunction(awaited)
