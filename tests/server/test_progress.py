"""Tasks followed by their ids: read, waited for, streamed, and several at once; on every broker."""

from __future__ import annotations

import asyncio
import gc
import os
from contextlib import aclosing, closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynq
from asynq import AsyncClient, Client, Context, Task
from asynq.client import results
from asynq.errors import BrokerUnavailable, ResultError, TaskFailedError, TaskGoneError, TaskNotFoundError
from asynq.protocol.ops import Archive, Complete, Dequeue, Done, Retry, WriteResult
from asynq.task_state import TaskState
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from asynq.protocol.message import Delivery
    from tests.server.conftest import ServerLab

HOUR = timedelta(hours=1)
LONG = timedelta(seconds=PATIENCE)


@pytest.fixture(params=["called", "awaited"])
async def ask(request: pytest.FixtureRequest, lab: ServerLab) -> AsyncIterator[Callable[..., Any]]:
    """Calls a method of a client of each kind: `await ask("get", task_id)`."""
    plain, awaited = Client(lab.broker), AsyncClient(lab.broker)

    async def called(verb: str, *args: Any, **options: Any) -> Any:
        return await asyncio.to_thread(lambda: getattr(plain, verb)(*args, **options))

    async def awaits(verb: str, *args: Any, **options: Any) -> Any:
        return await getattr(awaited, verb)(*args, **options)

    yield called if request.param == "called" else awaits
    await asyncio.to_thread(plain.close)
    await awaited.aclose()


@pytest.fixture(params=["called", "awaited"])
async def follow(request: pytest.FixtureRequest, lab: ServerLab) -> AsyncIterator[Callable[..., Any]]:
    """Iterates with a client of each kind: `async for step in follow("stream", info)`."""
    plain, awaited = Client(lab.broker), AsyncClient(lab.broker)

    async def called(verb: str, *args: Any, **options: Any) -> Any:
        items = getattr(plain, verb)(*args, **options)
        while (item := await asyncio.to_thread(next, items, None)) is not None:
            yield item

    def awaits(verb: str, *args: Any, **options: Any) -> Any:
        return getattr(awaited, verb)(*args, **options)

    yield called if request.param == "called" else awaits
    await asyncio.to_thread(plain.close)
    await awaited.aclose()


@pytest.fixture
def untold(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody polls: who is not told waits in vain."""
    monkeypatch.setattr(results, "FALLBACK_POLL_INTERVAL", 1e6)


async def enqueue(lab: ServerLab, **options: Any) -> asynq.TaskInfo:
    return await AsyncClient(lab.broker).enqueue(Task("t"), **{"retention": HOUR, **options})


async def take(lab: ServerLab, queue: str = "default") -> Delivery:
    fetch = Dequeue(orders=((queue,),), token=os.urandom(8).hex(), lease=60_000)
    [delivery] = await lab.broker.aexecute(fetch)
    return delivery


async def write(lab: ServerLab, delivery: Delivery, progress: bytes) -> None:
    await lab.broker.aexecute(WriteResult(lease=delivery.lease, result=progress))


# --- one task by its id ---------------------------------------------------------------------------------


async def test_a_task_is_read_by_its_id(lab: ServerLab, ask: Any) -> None:
    info = await enqueue(lab, queue="low")
    assert await ask("get", info.id, "low") == await ask("get", info.id, queue="low")
    assert (await ask("get", info.id, "low")).state is TaskState.PENDING
    delivery = await take(lab, "low")
    await write(lab, delivery, b"half")
    running = await ask("get", info.id, "low")
    assert (running.state, running.result) == (TaskState.ACTIVE, b"half")
    await lab.broker.aexecute(Archive(delivery=delivery, error="no such user"))
    ended = await ask("get", info.id, "low")
    assert (ended.state, ended.last_err) == (TaskState.ARCHIVED, "no such user")
    with pytest.raises(TaskNotFoundError):
        await ask("get", info.id)


async def test_a_result_is_awaited_by_id(lab: ServerLab, ask: Any) -> None:
    info = await enqueue(lab, queue="low")
    waiting = asyncio.create_task(ask("wait", task_id=info.id, queue="low", result=int))
    await lab.broker.aexecute(Complete(delivery=await take(lab, "low"), result=b"42"))
    assert await waiting == 42


async def test_a_definition_names_the_types_of_a_task_that_is_known_by_id(
    lab: ServerLab, ask: Any, follow: Any
) -> None:
    definition = asynq.TaskType("t", result=int, progress=dict[str, int])
    info = await enqueue(lab)
    delivery = await take(lab)
    await write(lab, delivery, b'{"done":1}')
    steps = follow("stream", task_id=info.id, progress=definition)
    assert await anext(steps) == {"done": 1}
    await steps.aclose()
    await lab.broker.aexecute(Complete(delivery=delivery, result=b"42"))
    assert await ask("wait", task_id=info.id, result=definition) == 42
    found = await ask("get", info.id, task_type=definition)
    assert found == await ask("get", info.id)
    assert await ask("wait", found) == 42
    assert [ended.result() async for ended in follow("as_completed", [info], result=definition)] == [42]


async def test_a_definition_is_a_task_type(memory: ServerLab) -> None:
    with (
        closing(Client(memory.broker)) as client,
        pytest.raises(TypeError, match="task_type must be an asynq"),
    ):
        client.get("1", task_type=int)  # type: ignore[call-overload]


async def test_waiting_for_an_id_that_no_task_has_fails_at_once(ask: Any) -> None:
    with pytest.raises(TaskGoneError, match="nobody"):
        await ask("wait", task_id="nobody")


async def test_waiting_for_an_id_without_retention_is_refused(lab: ServerLab, ask: Any) -> None:
    info = await enqueue(lab, retention=timedelta(0))
    with pytest.raises(ValueError, match=f"retention.*{info.id}"):
        await ask("wait", task_id=info.id)


async def test_an_archived_task_without_retention_has_ended(lab: ServerLab, ask: Any) -> None:
    info = await enqueue(lab, retention=timedelta(0))
    await lab.broker.aexecute(Archive(delivery=await take(lab), error="no such user"))
    with pytest.raises(TaskFailedError, match="no such user"):
        await ask("wait", task_id=info.id)
    with pytest.raises(TaskFailedError, match="no such user"):
        await ask("wait", await ask("get", info.id))


@pytest.mark.parametrize("verb", ["wait", "stream"])
async def test_a_task_is_named_in_exactly_one_way(memory: ServerLab, verb: str) -> None:
    info = await enqueue(memory)
    for client in Client(memory.broker), AsyncClient(memory.broker):

        async def call(*args: Any, client: Any = client, **options: Any) -> None:
            answer = getattr(client, verb)(*args, **options)
            if asyncio.iscoroutine(answer):
                await answer

        with pytest.raises(TypeError, match="info and task_id"):
            await call(info, task_id=info.id)
        with pytest.raises(TypeError, match="info must be"):
            await call()
        with pytest.raises(TypeError, match=r"info must be .*, not str: pass an id as task_id=\.\.\."):
            await call(info.id)
        with pytest.raises(ValueError, match="task_id must not be blank"):
            await call(task_id=" ")
        with pytest.raises(ValueError, match="queue must not be blank"):
            await call(task_id="x", queue="")
        with pytest.raises(ValueError, match="timeout"):
            await call(info, timedelta(seconds=-1))


# --- progress -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untold")
async def test_each_change_of_progress_is_an_item_until_the_task_is_completed(
    lab: ServerLab, follow: Any
) -> None:
    info = await enqueue(lab)
    delivery, seen = await take(lab), []
    await write(lab, delivery, b"1")
    async for step in follow("stream", info, LONG):
        seen.append(step)
        if step == b"3":
            await lab.broker.aexecute(Complete(delivery=delivery, result=b"the result"))
        else:
            await write(lab, delivery, step)
            await write(lab, delivery, b"%d" % (int(step) + 1))
    assert seen == [b"1", b"2", b"3"]
    assert await AsyncClient(lab.broker).wait(info) == b"the result"


@pytest.mark.usefixtures("untold")
async def test_progress_is_followed_from_before_the_run_and_over_a_retry(lab: ServerLab, follow: Any) -> None:
    info = await enqueue(lab)
    steps = follow("stream", task_id=info.id, progress=dict[str, int])
    first = asyncio.create_task(anext(steps))
    delivery = await take(lab)
    await write(lab, delivery, b'{"done":50}')
    assert await first == {"done": 50}
    second = asyncio.create_task(anext(steps))
    await lab.broker.aexecute(Retry(delivery=delivery, delay=3_600_000, error="once"))
    await asyncio.to_thread(Client(lab.broker).retry, "default", info.id)
    delivery = await take(lab)
    await write(lab, delivery, b'{"done":10}')
    assert await second == {"done": 10}
    end = asyncio.create_task(anext(steps, "the end"))
    await lab.broker.aexecute(Complete(delivery=delivery))
    assert await end == "the end"


async def test_the_progress_of_a_handler_is_followed(lab: ServerLab, follow: Any) -> None:
    step = asyncio.Semaphore(0)

    async def handler(ctx: Context, task: Task) -> str:
        for done in range(0, 100, 25):
            await ctx.write_result({"percent": done})
            await step.acquire()
        return "the report"

    seen = []
    async with lab.serving(handler):
        info = await enqueue(lab)
        async for progress in follow("stream", info, LONG, progress=dict[str, int]):
            seen.append(progress["percent"])
            step.release()
    assert seen == [0, 25, 50, 75]


async def test_a_task_that_ends_without_a_result_ends_the_stream_with_the_reason(
    lab: ServerLab, follow: Any
) -> None:
    info = await enqueue(lab)
    archived, gone = await take(lab), await enqueue(lab)
    deleted = await take(lab)
    await write(lab, archived, b"half")
    await lab.broker.aexecute(Archive(delivery=archived, error="no such user"))
    with pytest.raises(TaskFailedError, match="no such user"):
        await anext(follow("stream", info))
    failing = asyncio.create_task(anext(follow("stream", gone)))
    await lab.broker.aexecute(Done(delivery=deleted))
    with pytest.raises(TaskGoneError):
        await failing


async def test_a_stream_times_out_and_the_task_continues(lab: ServerLab, follow: Any) -> None:
    info = await enqueue(lab)
    await write(lab, await take(lab), b"half")
    steps = follow("stream", info, timedelta(milliseconds=200))
    assert await anext(steps) == b"half"
    with pytest.raises(TimeoutError, match=f"{info.id}.*0:00:00.200000"):
        await anext(steps)
    await lab.reaches(info.id, TaskState.ACTIVE)


async def test_progress_of_another_type_is_an_error(lab: ServerLab, follow: Any) -> None:
    info = await enqueue(lab)
    await write(lab, await take(lab), b'"half"')
    with pytest.raises(ResultError, match=f"the progress of task '{info.id}'.*Expected `int`, got `str`"):
        await anext(follow("stream", info, progress=int))
    with pytest.raises(TypeError, match=r"^progress=.*cannot be distinguished from"):
        await anext(follow("stream", info, progress=str | None))


# --- several tasks --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("untold")
async def test_several_tasks_come_in_the_order_in_which_they_end(lab: ServerLab, follow: Any) -> None:
    infos = [await enqueue(lab, queue=queue) for queue in ("a", "b", "c", "d")]
    deliveries = {queue: await take(lab, queue) for queue in ("a", "b", "c", "d")}
    ends = {
        "c": Complete(delivery=deliveries["c"], result=b"3"),
        "a": Archive(delivery=deliveries["a"], error="no such user"),
        "d": Done(delivery=deliveries["d"]),
        "b": Complete(delivery=deliveries["b"], result=b"?"),
    }
    seen: list[asynq.EndedTask[int]] = []
    ended = follow("as_completed", infos, LONG, result=int)
    for end in ends.values():
        waiting = asyncio.create_task(anext(ended))
        await lab.broker.aexecute(end)
        seen.append(await waiting)
    assert await anext(ended, None) is None
    assert [each.info.queue for each in seen] == list(ends)
    done, failed, gone, undecodable = seen
    assert (done.result(), done.error, done.info.state) == (3, None, TaskState.COMPLETED)
    assert failed.info.state is TaskState.ARCHIVED
    for each, kind in (failed, TaskFailedError), (gone, TaskGoneError), (undecodable, ResultError):
        assert isinstance(each.error, kind)
        with pytest.raises(kind):
            each.result()


async def test_tasks_that_do_not_end_in_time_are_counted(lab: ServerLab, follow: Any) -> None:
    infos = [await enqueue(lab), await enqueue(lab)]
    await lab.broker.aexecute(Complete(delivery=await take(lab), result=b"r"))
    ended = follow("as_completed", infos, timedelta(milliseconds=200))
    assert (await anext(ended)).result() == b"r"
    with pytest.raises(TimeoutError, match=r"1 of 2 tasks have not ended within 0:00:00.2"):
        await anext(ended)


async def test_no_tasks_end_at_once(memory: ServerLab) -> None:
    assert list(Client(memory.broker).as_completed([])) == []
    with pytest.raises(TypeError, match="info must be"):
        Client(memory.broker).as_completed([asynq.DuplicateTaskError("q", "t")])  # type: ignore[arg-type]


async def test_an_abandoned_iteration_stops_waiting(memory: ServerLab) -> None:
    client = AsyncClient(memory.broker)
    infos = [await enqueue(memory) for _ in range(3)]
    await memory.broker.aexecute(Complete(delivery=await take(memory), result=b"r"))
    before = asyncio.all_tasks()
    async with aclosing(client.as_completed(infos)) as ended:
        await anext(ended)
        assert asyncio.all_tasks() - before
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    await client.aclose()


def test_an_abandoned_iteration_of_blocking_code_holds_nothing_up() -> None:
    broker = asynq.MemoryBroker()
    with Client(broker) as client:
        infos = [client.enqueue(Task("t"), retention=HOUR) for _ in range(2)]
        [first] = broker.execute(Dequeue(orders=(("default",),), token="x", lease=60_000))
        broker.execute(Complete(delivery=first, result=b"r"))
        for each in client.as_completed(infos):
            assert each.result() == b"r"
            break
        gc.collect()
        steps = client.stream(infos[1])
        broker.execute(WriteResult(lease=take_now(broker).lease, result=b"half"))
        assert next(steps) == b"half"
    with pytest.raises(TimeoutError):
        client.wait(infos[1], timedelta(0))
    client.close()
    broker.close()


def take_now(broker: asynq.MemoryBroker) -> Delivery:
    [delivery] = broker.execute(Dequeue(orders=(("default",),), token="y", lease=60_000))
    return delivery


async def test_closing_a_client_ends_its_streams(lab: ServerLab) -> None:
    client = Client(lab.broker)
    following = asyncio.create_task(asyncio.to_thread(next, client.stream(await enqueue(lab))))
    while client._portal._thread is None:  # noqa: ASYNC110 - the other thread starts it
        await asyncio.sleep(0)
    await asyncio.to_thread(client.close)
    with pytest.raises(BrokerUnavailable, match="closed"):
        await following
