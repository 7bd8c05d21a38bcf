"""Waiting for results, on every broker and by both clients."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynq
from asynq import AsyncClient, Client, Context, Task
from asynq.client import results
from asynq.errors import BrokerUnavailable, TaskFailedError, TaskGoneError
from asynq.protocol.ops import Archive, Complete, Dequeue, Done
from asynq.task_state import TaskState
from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.server.conftest import ServerLab, open_broker
from tests.waiting import PATIENCE, aeventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from asynq.protocol.message import Delivery

HOUR = timedelta(hours=1)
LONG = timedelta(seconds=PATIENCE)


@pytest.fixture(params=["called", "awaited"])
def wait(request: pytest.FixtureRequest, lab: ServerLab) -> Iterator[Callable[..., Awaitable[bytes]]]:
    """Waits with a client of each kind: `await wait(info, patience)`."""
    plain, awaited = Client(lab.broker), AsyncClient(lab.broker)

    async def called(info: Any, patience: Any = LONG, **options: Any) -> Any:
        return await asyncio.to_thread(lambda: plain.wait(info, patience, **options))

    async def awaits(info: Any, patience: Any = LONG, **options: Any) -> Any:
        try:
            return await awaited.wait(info, patience, **options)
        finally:
            await awaited.aclose()

    yield called if request.param == "called" else awaits
    plain.close()


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody polls: who is not told waits in vain."""
    monkeypatch.setattr(results, "FALLBACK_POLL_INTERVAL", 1e6)


async def enqueue(lab: ServerLab, **options: Any) -> asynq.TaskInfo:
    return await AsyncClient(lab.broker).enqueue(Task("t"), **{"retention": HOUR, **options})


async def take(lab: ServerLab) -> Delivery:
    fetch = Dequeue(orders=(("default",),), token=os.urandom(8).hex(), lease=60_000)
    [delivery] = await lab.broker.aexecute(fetch)
    return delivery


async def watching(lab: ServerLab, monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """An event that is set once somebody watches a task and has looked at it."""
    looking, loop = asyncio.Event(), asyncio.get_running_loop()
    original = results.Results._watched

    async def watched(self: results.Results, look: Any) -> Any:
        answer = await original(self, look)
        loop.call_soon_threadsafe(looking.set)
        return answer

    monkeypatch.setattr(results.Results, "_watched", watched)
    return looking


@pytest.mark.usefixtures("untold")
async def test_a_result_is_available_after_the_handler_returned(lab: ServerLab, wait: Any) -> None:
    let_go = asyncio.Event()

    async def handler(ctx: Context, task: Task) -> bytes:
        await let_go.wait()
        return b"the result"

    async with lab.serving(handler):
        waiting = asyncio.create_task(wait(await enqueue(lab)))
        await asyncio.sleep(0)
        let_go.set()
        assert await waiting == b"the result"


@pytest.mark.usefixtures("untold")
async def test_a_waiting_caller_is_notified_of_the_end(
    lab: ServerLab, wait: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking = await watching(lab, monkeypatch)
    info = await enqueue(lab)
    delivery = await take(lab)
    waiting = asyncio.create_task(wait(info))
    await looking.wait()
    await lab.broker.aexecute(Complete(delivery=delivery, result=b"r"))
    assert await waiting == b"r"


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.usefixtures("untold")
async def test_an_archived_task_raises_its_last_error(
    lab: ServerLab, wait: Any, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    looking = await watching(lab, monkeypatch)
    info = await enqueue(lab)
    delivery = await take(lab)
    waiting = asyncio.create_task(wait(info)) if late else None
    if waiting:
        await looking.wait()
    await lab.broker.aexecute(Archive(delivery=delivery, error="no such user"))
    with pytest.raises(TaskFailedError) as failed:
        await (waiting or wait(info))
    error = failed.value
    assert (error.queue, error.task_id, error.error) == ("default", info.id, "no such user")


@pytest.mark.parametrize("late", [True, False])
@pytest.mark.usefixtures("untold")
async def test_a_missing_task_raises_an_error_with_the_reason(
    lab: ServerLab, wait: Any, monkeypatch: pytest.MonkeyPatch, late: bool
) -> None:
    looking = await watching(lab, monkeypatch)
    info = await enqueue(lab)
    delivery = await take(lab)
    waiting = asyncio.create_task(wait(info)) if late else None
    if waiting:
        await looking.wait()
    await lab.broker.aexecute(Done(delivery=delivery))
    with pytest.raises(TaskGoneError, match="revoked"):
        await (waiting or wait(info))


async def test_the_error_for_a_wrong_queue_says_that_the_task_was_never_there(lab: ServerLab) -> None:
    info = await enqueue(lab)
    async with asynq.AsyncClient(lab.broker) as client:
        with pytest.raises(TaskGoneError, match=f"{info.id!r} of queue 'other'.*never in this queue"):
            await client.wait(task_id=info.id, queue="other")


async def test_a_task_that_returned_nothing_has_an_empty_result(lab: ServerLab, wait: Any) -> None:
    info = await enqueue(lab)
    await lab.broker.aexecute(Complete(delivery=await take(lab)))
    assert await wait(info) == b""


async def test_a_result_is_decoded_to_the_requested_type(lab: ServerLab, wait: Any) -> None:
    info = await enqueue(lab)
    await lab.broker.aexecute(Complete(delivery=await take(lab), result=b'{"a":[1,2]}'))
    assert await wait(info, result=dict[str, list[int]]) == {"a": [1, 2]}
    assert await wait(info, result=str) == '{"a":[1,2]}'
    assert await wait(info, result=dict[str, set[int]] | None) == {"a": {1, 2}}
    with pytest.raises(asynq.ResultError, match=f"{info.id}.*Expected `int`, got `object`"):
        await wait(info, result=int)
    with pytest.raises(TypeError, match=r"^result=.*cannot be distinguished from"):
        await wait(info, result=str | None)


async def test_a_missing_result_is_none_if_the_type_allows_it(lab: ServerLab, wait: Any) -> None:
    info = await enqueue(lab)
    await lab.broker.aexecute(Complete(delivery=await take(lab)))
    assert await wait(info, result=int | None) is None
    with pytest.raises(asynq.ResultError, match="it is empty"):
        await wait(info, result=int)


async def test_a_wait_times_out_and_the_task_continues(lab: ServerLab, wait: Any) -> None:
    info = await enqueue(lab)
    with pytest.raises(TimeoutError, match=f"{info.id}.*0:00:00.050000"):
        await wait(info, timedelta(milliseconds=50))
    await lab.reaches(info.id, TaskState.PENDING)


@pytest.mark.parametrize(
    ("options", "patience", "error", "option"),
    [
        ({"retention": timedelta(0)}, LONG, ValueError, "retention"),
        ({}, timedelta(seconds=-1), ValueError, "timeout"),
        ({}, 5, TypeError, "timeout"),
    ],
)
async def test_invalid_arguments_of_a_wait_are_refused(
    memory: ServerLab, options: Any, patience: Any, error: type[Exception], option: str
) -> None:
    info = await enqueue(memory, **options)
    with pytest.raises(error, match=option):
        Client(memory.broker).wait(info, patience)
    with pytest.raises(error, match=option):
        await AsyncClient(memory.broker).wait(info, patience)
    with pytest.raises(TypeError, match="info"):
        Client(memory.broker).wait(info.id)  # type: ignore[call-overload]


async def test_many_callers_can_wait_concurrently(lab: ServerLab) -> None:
    async def handler(ctx: Context, task: Task) -> bytes:
        return task.payload

    async with lab.serving(handler), AsyncClient(lab.broker) as client:
        tasks = [Task("t", str(number)) for number in range(120)]
        infos = await client.enqueue_many(tasks, retention=HOUR)
        waits = [client.wait(info, LONG) for info in infos if isinstance(info, asynq.TaskInfo)]
        assert await asyncio.gather(*waits) == [task.payload for task in tasks]


class Deaf(MemoryBroker):
    """Tells nobody of anything."""

    def watcher(self) -> Any:
        return self

    async def watch(self, queue: str, task_id: str) -> Any:
        raise BrokerUnavailable("nothing is told")


async def test_a_task_is_polled_if_the_broker_does_not_push(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "NO_PUSH_POLL_INTERVAL", 0.01)
    deaf = ServerLab(Deaf())
    info = await enqueue(deaf)
    waiting = asyncio.create_task(AsyncClient(deaf.broker).wait(info, LONG))
    delivery = await take(deaf)
    await deaf.broker.aexecute(Complete(delivery=delivery, result=b"r"))
    assert await waiting == b"r"
    deaf.broker.close()


class Faltering(MemoryBroker):
    """Is away from its second look on, for a while."""

    looks = 0

    async def aexecute(self, op: Any, /) -> Any:
        self.looks += isinstance(op, asynq.protocol.ops.GetTask)
        if 2 <= self.looks <= 3 and isinstance(op, asynq.protocol.ops.GetTask):
            raise BrokerUnavailable("it is away")
        return await super().aexecute(op)


async def test_a_wait_survives_an_outage_of_the_broker() -> None:
    lab = ServerLab(Faltering())
    info = await enqueue(lab)
    waiting = asyncio.create_task(AsyncClient(lab.broker).wait(info, LONG))
    await lab.broker.aexecute(Complete(delivery=await take(lab), result=b"r"))
    assert await waiting == b"r"
    lab.broker.close()


async def test_a_wait_on_an_unreachable_broker_fails_at_once(tmp_path: Path) -> None:
    with Client(MemoryBroker()) as client:
        info = client.enqueue(Task("t"), retention=HOUR)
    nowhere = SQLiteBroker(tmp_path / "no" / "such" / "directory.db")
    with pytest.raises(asynq.BrokerRefusedError), Client(nowhere) as client:
        client.wait(info)


@pytest.fixture
def portals() -> Callable[[], list[threading.Thread]]:
    """Gives the threads of clients that this test has started. Others may have left clients uncollected."""
    before = threading.enumerate()
    return lambda: [
        thread
        for thread in threading.enumerate()
        if thread.name == "asynq-loop-thread" and thread not in before
    ]


async def test_closing_a_client_ends_its_waits_and_its_thread(
    lab: ServerLab, portals: Callable[[], list[threading.Thread]]
) -> None:
    client = Client(lab.broker)
    waiting = asyncio.create_task(asyncio.to_thread(client.wait, await enqueue(lab)))
    await aeventually(portals)
    await asyncio.to_thread(client.close)
    with pytest.raises(BrokerUnavailable, match="closed"):
        await waiting
    assert portals() == []
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(client.wait, await enqueue(lab), timedelta(milliseconds=20))
    client.close()


async def test_an_unreferenced_client_leaves_no_thread(
    memory: ServerLab, portals: Callable[[], list[threading.Thread]]
) -> None:
    client = Client(memory.broker)
    with pytest.raises(TimeoutError):
        client.wait(await enqueue(memory), timedelta(0))
    assert len(portals()) == 1
    del client
    gc.collect()
    await aeventually(lambda: not portals())


async def test_a_client_can_wait_in_a_forked_child(shared_url: str) -> None:
    broker = open_broker(shared_url)
    client = Client(broker)
    lab = ServerLab(broker)
    info = await enqueue(lab)
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(client.wait, info, timedelta(milliseconds=20))
    await lab.broker.aexecute(Complete(delivery=await take(lab), result=b"r"))
    if (child := os.fork()) == 0:
        # A thread of its own: the parent's event loop counts as running here.
        found: list[bytes] = []
        waiter = threading.Thread(target=lambda: found.append(client.wait(info, LONG)))
        waiter.start()
        waiter.join()
        os._exit(0 if found == [b"r"] else 1)
    assert await asyncio.to_thread(os.waitpid, child, 0) == (child, 0)
    await asyncio.to_thread(client.close)
    await broker.aclose()
    broker.close()
