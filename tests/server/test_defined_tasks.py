"""Tasks that are defined once, from the client to the worker and back, on every broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import AsyncClient, Backoff, Context, ServeMux, Task, TaskFailedError, TaskState, TaskType

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.server.conftest import ServerLab

HOUR = timedelta(hours=1)


@dataclass
class Order:
    customer: int
    currency: str = "EUR"


@dataclass
class Invoice:
    text: str


invoice = TaskType("invoice:build", Order, result=Invoice, retention=HOUR)
mux = ServeMux(unknown="archive")


@mux.handler(invoice)
async def build(ctx: Context, order: Order) -> Invoice:
    return Invoice(f"{order.customer} pays in {order.currency}")


@mux.task("sum", progress=dict[str, int], retention=HOUR)
def add(ctx: Context, numbers: list[int], start: int = 0) -> int:
    ctx.write_result_sync({"numbers": len(numbers)})
    return sum(numbers, start)


@mux.task("fails", max_retry=1, retry_delay=Backoff(timedelta(milliseconds=1)), archive_on=KeyError)
def fail(again: bool) -> None:
    raise ValueError if again else KeyError("final")


async def test_a_defined_task_runs_and_its_result_has_the_declared_type(lab: ServerLab) -> None:
    async with lab.serving(mux):
        client = AsyncClient(lab.broker)
        built = await client.enqueue(invoice(customer=42))
        added = await client.enqueue(add([1, 2], start=39))
        assert await client.wait(built) == Invoice("42 pays in EUR")
        assert await client.wait(added) == 42
        await client.aclose()


async def test_a_handler_declares_how_its_task_fails(lab: ServerLab) -> None:
    async with lab.serving(mux):
        client = AsyncClient(lab.broker)
        again, final = await client.enqueue(fail(again=True)), await client.enqueue(fail(again=False))
        for info, retried in ((again, 1), (final, 0)):
            stored = await lab.reaches(info.id, TaskState.ARCHIVED)
            assert stored.message.retried == retried
        await client.aclose()


async def test_a_task_of_an_unknown_type_is_archived_at_once(lab: ServerLab) -> None:
    async with lab.serving(mux):
        stored = await lab.reaches(await lab.enqueue("typo", max_retry=5), TaskState.ARCHIVED)
    assert "typo" in stored.message.error


encode = TaskType("video:encode", str, result=str, progress=Order, max_retry=0, retention=HOUR)
WRITES = {
    "instance": Order(1),
    "its form": {"customer": 2},
    "another": Invoice("x"),
    "wrong field": {"customer": "x"},
    "text": "half",
    "nothing": None,
}


async def in_loop(ctx: Context, name: str) -> str:
    await ctx.write_result(WRITES[name])
    return "written"


def beside(ctx: Context, name: str) -> str:
    ctx.write_result_sync(WRITES[name])
    return "written"


def encoders(place: str) -> tuple[ServeMux, Callable[[str], Task]]:
    """A mux whose handler runs in this place, and its definition."""
    mux = ServeMux()
    if place == "function":
        return mux, mux.task("video:encode", progress=Order, max_retry=0, retention=HOUR)(in_loop)
    handler = in_loop if place == "async" else beside
    mux.handle(encode, handler, executor="process" if place == "process" else None)
    return mux, encode


@pytest.mark.parametrize("place", ["async", "thread", "function"])
@pytest.mark.parametrize("name", WRITES)
async def test_progress_of_the_declared_type_is_written_and_none_other(
    memory: ServerLab, place: str, name: str
) -> None:
    mux, define = encoders(place)
    await check_progress(memory, mux, define(name), is_written=name in ("instance", "its form"))


@pytest.mark.parametrize("name", ["instance", "another"])
async def test_a_handler_process_writes_progress_of_the_declared_type(memory: ServerLab, name: str) -> None:
    mux, define = encoders("process")
    await check_progress(memory, mux, define(name), is_written=name == "instance")


async def check_progress(lab: ServerLab, mux: ServeMux, task: Task, *, is_written: bool) -> None:
    async with lab.serving(mux):
        client = AsyncClient(lab.broker)
        info = await client.enqueue(task)
        if is_written:
            assert await client.wait(info, result=str) == "written"
        else:
            with pytest.raises(TaskFailedError, match="task 'video:encode' declares progress=Order: "):
                await client.wait(info)
            assert (await client.get(info.id)).result is None
        await client.aclose()


async def test_undeclared_progress_may_be_anything(memory: ServerLab) -> None:
    mux = ServeMux()
    mux.handle(TaskType("video:encode", str, result=str, retention=HOUR), in_loop)
    for name in WRITES:
        await check_progress(memory, mux, Task("video:encode", name, retention=HOUR), is_written=True)
