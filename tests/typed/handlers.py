"""What type checkers must see of handlers. mypy and pyright check it; nothing runs it.

A line with `# type: ignore[...]` must be refused: both checkers report an ignore that suppresses nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, assert_type

import asynq
from tests.typed.task_types import Invoice, Step, Welcome, bill, tidy, welcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

mux = asynq.ServeMux()
SECOND = timedelta(seconds=1)
client = asynq.Client("memory://typed")


@dataclass
class Address:
    street: str


@mux.handler(bill)
async def build(ctx: asynq.Context, order: Welcome) -> Invoice:
    return Invoice(order.user_id)


@mux.handler(bill)
def build_in_thread(ctx: asynq.Context, order: Welcome) -> Invoice:
    return Invoice(order.user_id)


@mux.handler(tidy)
async def clean(ctx: asynq.Context, task: asynq.Task) -> None: ...


@mux.handler(welcome)  # type: ignore[arg-type]
async def returns_what_is_not_declared(ctx: asynq.Context, order: Welcome) -> int:
    return 1


@mux.handler(welcome)  # type: ignore[arg-type]
async def takes_another_payload(ctx: asynq.Context, order: Invoice) -> None: ...


@mux.task("user:greet", max_retry=5)
async def greet(ctx: asynq.Context, user_id: int, lang: str = "en") -> Invoice:
    return Invoice(user_id)


@mux.task("user:move", progress=Step, executor="process")
def move(user_id: int, *, to: Address) -> None: ...


@mux.task("user:count")
def count() -> int:
    return 1


@mux.handler(
    "t", retry_delay=asynq.Backoff(SECOND), retry_on=(OSError, KeyError), timeout=SECOND, concurrency=5
)
async def with_options(ctx: asynq.Context, task: asynq.Task) -> None: ...


@mux.task(
    "t", retry_delay=lambda retried, error, task: SECOND * retried, archive_on=ValueError, timeout=SECOND
)
def with_rules(number: int) -> None: ...


mux.handle("a:", asynq.ServeMux(unknown="archive"), retry_delay=SECOND, timeout=SECOND)
asynq.ServeMux(unknown="drop")  # type: ignore[arg-type]
asynq.Server("memory://typed", retry_delay=asynq.Backoff(SECOND, jitter=0.5))
mux.handler("t", retry_on=ValueError())  # type: ignore[call-overload]


@dataclass
class State:
    street: str


@mux.handler(bill)
async def build_with_state(ctx: asynq.Context[State], order: Welcome) -> Invoice:
    assert_type(ctx.state, State)
    await ctx.client.enqueue(greet(user_id=1))
    return Invoice(order.user_id)


@mux.handler(tidy)
async def with_results(ctx: asynq.Context, task: asynq.Task) -> None:
    assert_type(ctx.passed_results(), list[bytes])
    assert_type(ctx.passed_results(Invoice), list[Invoice])
    assert_type(ctx.passed_results(Invoice | None), list[Any])


@mux.handler("plain")
def plain(ctx: asynq.Context[State], task: asynq.Task) -> None:
    ctx.client_sync.enqueue(greet(user_id=1))


@mux.task("user:visit")
async def visit(ctx: asynq.Context[State], user_id: int) -> str:
    return ctx.state.street


@asynccontextmanager
async def lifespan(server: asynq.Server) -> AsyncGenerator[State]:
    yield State("High Street")


def note(task: asynq.Task, ctx: asynq.Context[State]) -> None: ...


asynq.Server("memory://typed", handler=mux, lifespan=lifespan, on_success=note)

assert_type(visit(user_id=42), asynq.Task[str, bytes])
assert_type(greet(user_id=42), asynq.Task[Invoice, bytes])
assert_type(greet(42, "de"), asynq.Task[Invoice, bytes])
assert_type(move(42, to=Address("x")), asynq.Task[None, Step])
assert_type(count(), asynq.Task[int, bytes])
assert_type(client.wait(client.enqueue(greet(user_id=42))), Invoice)
assert_type(client.wait(task_id="1", result=greet), Invoice)
for moved in client.stream(task_id="1", progress=move):
    assert_type(moved, Step)
assert_type(move.fn(42, to=Address("x")), None)

greet()  # type: ignore[call-arg]
greet("42")  # type: ignore[arg-type]
greet(user=42)  # type: ignore[call-arg]
move(42, Address("x"))  # type: ignore[call-arg]
move.fn("42", to=Address("x"))  # type: ignore[arg-type]
mux.task("t", max_retries=5)  # type: ignore[call-overload]


async def in_a_test(ctx: asynq.Context, stateful: asynq.Context[State]) -> None:
    assert_type(ctx.state, object)
    assert_type(await visit.fn(stateful, 42), str)
    assert_type(await greet.fn(stateful, 42), Invoice)
    assert_type(await greet.fn(ctx, 42), Invoice)
    assert_type(await build(ctx, Welcome(42)), Invoice)
    assert_type(build_in_thread(ctx, Welcome(42)), Invoice)
