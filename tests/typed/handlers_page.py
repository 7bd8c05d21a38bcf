"""The code of docs/handlers.md, for type checkers. A test compares it with the page."""

# pyright: basic
from __future__ import annotations
# ---
import asynq

mux = asynq.ServeMux()


@mux.handler("email:deliver")
async def deliver_email(ctx: asynq.Context, task: asynq.Task) -> None:
    order = task.json()
    print(order["user_id"], ctx.task_id, ctx.queue, ctx.retried, ctx.max_retry, ctx.deadline)


@mux.handler("image:resize")
def resize(ctx: asynq.Context, task: asynq.Task) -> bytes:
    done = 0
    for _ in range(0, len(task.payload), 1024):
        ctx.raise_if_cancelled()
        done += 1
    return b"%d parts" % done


billing = asynq.ServeMux()


@billing.handler("billing:invoice:")
async def any_invoice(ctx: asynq.Context, task: asynq.Task) -> None: ...


@billing.handler("billing:invoice:send")
async def send_invoice(ctx: asynq.Context, task: asynq.Task) -> None: ...


mux.handle("billing:", billing)


from dataclasses import dataclass


@dataclass
class OrderPaid:
    order: int
    amount: float
    currency: str = "EUR"


@mux.handler("order:paid", payload=OrderPaid)
async def order_paid(ctx: asynq.Context, order: OrderPaid) -> None:
    print(order.order, order.amount, order.currency)


asynq.Task("order:paid", OrderPaid(7, 12.5))


@mux.task("email:welcome", max_retry=5)
async def send_welcome(ctx: asynq.Context, user_id: int, lang: str = "en") -> str:
    return f"run {ctx.retried}: welcome {user_id} in {lang}"


with asynq.Client("redis://127.0.0.1:6379") as client:
    client.enqueue(send_welcome(user_id=42))
    client.enqueue(send_welcome(42, lang="de"), queue="low")


@mux.task("sum")
def add(first: int, second: int) -> int:
    return first + second


assert add.fn(1, 2) == 3
assert add(1, 2).json() == {"first": 1, "second": 2}


from functools import partial

mail_task = partial(mux.task, queue="mails", max_retry=5, retry_on=(ConnectionError, TimeoutError))


@mail_task("mail:reminder")
async def remind(user_id: int) -> None: ...


from datetime import timedelta


@mux.handler(
    "payment:collect",
    retry_delay=asynq.Backoff(timedelta(seconds=2), maximum=timedelta(minutes=10)),
    retry_on=(ConnectionError, TimeoutError),
    timeout=timedelta(minutes=1),
    concurrency=5,
)
async def collect(ctx: asynq.Context, task: asynq.Task) -> None: ...


@mux.handler("mail:send", retry_delay=asynq.Backoff(timedelta(seconds=2)))
async def send_mail(ctx: asynq.Context, task: asynq.Task) -> None:
    status, retry_after = 503, 30  # here, a program calls a mail server
    if status == 503:
        raise asynq.RetryIn(timedelta(seconds=retry_after), "the mail server is busy")


from time import perf_counter
from typing import Any


@mux.middleware
async def timing(ctx: asynq.Context, task: asynq.Task, next: asynq.Next) -> Any:
    started = perf_counter()
    try:
        return await next(ctx, task)
    finally:
        print(task.type, perf_counter() - started)


import sqlite3
import threading

local = threading.local()


@mux.middleware
def with_connection(ctx: asynq.Context, task: asynq.Task, next: asynq.SyncNext) -> Any:
    local.connection = sqlite3.connect("shop.db")
    try:
        return next(ctx, task)
    finally:
        local.connection.close()


@mux.handler("order:confirm")
async def confirm(ctx: asynq.Context, task: asynq.Task) -> None:
    await ctx.client.enqueue(asynq.Task("email:deliver", task.payload))


@mux.handler("order:archive")
def archive(ctx: asynq.Context, task: asynq.Task) -> None:
    ctx.client_sync.enqueue(asynq.Task("email:deliver", task.payload), queue="low")


@mux.handler("video:encode", executor="process")
def encode(ctx: asynq.Context, task: asynq.Task) -> int:
    return sum(byte * byte for byte in task.payload)


asynq.Server(
    "redis://127.0.0.1:6379", handler=mux, max_tasks_per_child=1000, max_memory_per_child=500_000_000
)
