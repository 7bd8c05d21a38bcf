"""Tasks that are defined once, from the client to the worker and back, on every broker."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from asynq import AsyncClient, Backoff, Context, ServeMux, TaskState, TaskType

if TYPE_CHECKING:
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
