from __future__ import annotations

import asyncio
import contextvars
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen

from asynq.client.task import Task
from asynq.errors import HandlerNotFoundError, PayloadError, SkipRetry
from asynq.handlers.context import Context, current_context
from asynq.handlers.mux import MAX_TYPES_KEPT, ServeMux
from asynq.handlers.outcome import Failed, Interrupted, Succeeded
from tests.unit.handler_runs import delivery, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.handlers.middleware import Next
    from tests.unit.handler_runs import Runs


def naming(name: str) -> Callable[[Context, Task], str]:
    return lambda ctx, task: name


def mux_of(*patterns: str) -> ServeMux:
    mux = ServeMux()
    for pattern in patterns:
        mux.handle(pattern, naming(pattern))
    return mux


@pytest.mark.parametrize(
    ("task_type", "pattern"),
    [
        ("email", "email"),
        ("email:", "email:"),
        ("email:deliver", "email:deliver"),
        ("email:deliver:now", "email:deliver"),
        ("email:deli", "email:"),
        ("emails", "email"),
        ("e" * 100_000, "e"),
        ("é", "é"),
    ],
)
async def test_the_longest_matching_prefix_wins(runs: Runs, task_type: str, pattern: str) -> None:
    mux = mux_of("e", "email:deliver", "email", "email:", "é")
    assert await runs.outcome(mux, delivery(task_type)) == Succeeded(pattern.encode())


@pytest.mark.parametrize("task_type", ["", "Email", "emai", "x:email"])
async def test_a_type_without_a_matching_pattern_fails_with_the_reason(runs: Runs, task_type: str) -> None:
    outcome = await runs.outcome(mux_of("email"), delivery(task_type))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerNotFoundError)
    assert str(outcome.error) == f"handler not found for task {task_type!r}"
    assert not isinstance(outcome.error, SkipRetry)


async def test_nested_muxes_see_the_whole_type(runs: Runs) -> None:
    outer = mux_of("billing")
    outer.handle("billing:", mux_of("billing:invoice"))
    assert await runs.outcome(outer, delivery("billing:invoice:7")) == Succeeded(b"billing:invoice")
    assert isinstance(await runs.outcome(outer, delivery("billing:x")), Failed)
    assert await runs.outcome(outer, delivery("billings")) == Succeeded(b"billing")


async def test_a_handler_added_later_counts_for_types_that_were_handled_before(runs: Runs) -> None:
    outer, inner = mux_of("a"), mux_of("a:b")
    assert await runs.outcome(outer, delivery("a:b:c")) == Succeeded(b"a")
    outer.handle("a:", inner)
    assert await runs.outcome(outer, delivery("a:b:c")) == Succeeded(b"a:b")
    inner.handle("a:b:c", naming("new"))
    assert await runs.outcome(outer, delivery("a:b:c")) == Succeeded(b"new")
    assert isinstance(await runs.outcome(outer, delivery("b")), Failed)
    outer.handle("b", naming("b"))
    assert await runs.outcome(outer, delivery("b")) == Succeeded(b"b")


async def test_a_middleware_added_later_wraps_the_next_tasks(runs: Runs) -> None:
    trace: list[str] = []
    mux = mux_of("t")
    await runs.outcome(mux, delivery("t"))
    mux.middleware(tracing("late", trace))
    await runs.outcome(mux, delivery("t"))
    assert trace == ["late in", "late out"]


def test_the_types_that_a_mux_remembers_are_bounded() -> None:
    mux = mux_of("t")
    for number in range(2 * MAX_TYPES_KEPT):
        mux.find(f"t{number}")
    mux.find("t" * 100_000)
    assert len(mux._found) <= MAX_TYPES_KEPT
    assert sum(map(len, mux._found)) < 10 * MAX_TYPES_KEPT


# --- what is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "error"), [("", ValueError), (" \t", ValueError), ("taken", ValueError), (b"x", TypeError)]
)
def test_a_blank_or_taken_pattern_is_refused(pattern: Any, error: type[Exception]) -> None:
    mux = mux_of("taken")
    with pytest.raises(error, match="pattern"):
        mux.handle(pattern, naming("x"))


def one_argument(ctx: Context) -> None: ...


def generator(ctx: Context, task: Task) -> Any:
    yield


async def async_generator(ctx: Context, task: Task) -> Any:
    yield


class Handler:
    def __call__(self, ctx: Context, task: Task) -> None: ...


class Generating:
    def __call__(self, ctx: Context, task: Task) -> Any:
        yield


@pytest.mark.parametrize(
    "handler",
    [
        None,
        "name",
        object(),
        Handler,
        one_argument,
        generator,
        async_generator,
        partial(generator),
        Generating(),
    ],
)
def test_an_invalid_handler_is_refused(handler: Any) -> None:
    mux = ServeMux()
    with pytest.raises(TypeError, match="a handler must"):
        mux.handle("t", handler)
    mux.handle("t", naming("free"))


async def anything(ctx: Context, task: Task) -> None: ...


@pytest.mark.parametrize(
    ("handler", "options"),
    [
        (anything, {"executor": "process"}),
        (naming("x"), {"executor": "fiber"}),
        (anything, {"executor": "thread"}),
        (ServeMux(), {"executor": "thread"}),
        (ServeMux(), {"payload": int}),
    ],
)
def test_an_invalid_option_of_a_handler_is_refused(handler: Any, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="executor"):
        ServeMux().handle("t", handler, **options)


def test_a_mux_cannot_be_its_own_handler() -> None:
    mux = ServeMux()
    with pytest.raises(ValueError, match="its own handler"):
        mux.handle("t", mux)


@pytest.mark.parametrize("middleware", [None, 3, Handler, generator, one_argument, Handler()])
@pytest.mark.parametrize(
    "register",
    [ServeMux().middleware, lambda it: ServeMux().handle("t", Handler(), middlewares=[it])],
)
def test_what_cannot_be_a_middleware_is_refused(register: Any, middleware: Any) -> None:
    with pytest.raises(TypeError, match=r"a middleware must be a function of \(ctx, task, next\)"):
        register(middleware)


# --- payloads -----------------------------------------------------------------------------------------


@frozen
class OrderPaid:
    order: int


async def test_a_typed_handler_gets_the_decoded_payload(runs: Runs) -> None:
    mux = ServeMux()

    @mux.handler("a", payload=OrderPaid)
    async def on_loop(ctx: Context, paid: OrderPaid) -> int:
        return paid.order

    @mux.handler("b", payload=OrderPaid, executor="thread")
    def in_thread(ctx: Context, paid: OrderPaid) -> int:
        return paid.order + 1

    assert await runs.outcome(mux, delivery("a", payload=b'{"order":7}')) == Succeeded(b"7")
    assert await runs.outcome(mux, delivery("b", payload=b'{"order":7}')) == Succeeded(b"8")


async def test_an_undecodable_payload_fails_permanently_without_calling_the_handler(runs: Runs) -> None:
    called: list[Any] = []
    mux = ServeMux()
    mux.handle("t", lambda ctx, paid: called.append(paid), payload=OrderPaid)
    outcome = await runs.outcome(mux, delivery("t", payload=b'{"order":"7"}'))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, PayloadError)
    assert isinstance(outcome.error, SkipRetry)
    assert "`$.order`" in str(outcome.error)
    assert called == []


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(str | None, "cannot be distinguished from"), (Path, "no form in JSON"), (Task, "leave it out")],
)
def test_a_payload_type_that_cannot_be_decoded_is_refused_at_registration(payload: Any, reason: str) -> None:
    mux = ServeMux()
    with pytest.raises(TypeError, match=reason):
        mux.handle("t", naming("x"), payload=payload)
    mux.handle("t", naming("free"))


async def test_a_typed_handler_gets_the_enqueued_value(runs: Runs) -> None:
    got: list[Any] = []
    mux = ServeMux()
    types: dict[str, Any] = {"list": list[OrderPaid], "text": str, "bytes": bytes, "maybe": OrderPaid | None}
    for name, kind in types.items():
        mux.handle(name, lambda ctx, payload: got.append(payload), payload=kind)
    sent: list[tuple[str, Any]] = [
        ("list", [OrderPaid(1), OrderPaid(2)]),
        ("text", "abc"),
        ("bytes", b"\xff"),
        ("maybe", None),
        ("maybe", OrderPaid(3)),
    ]
    for name, value in sent:
        assert await runs.outcome(mux, delivery(name, payload=Task(name, value).payload)) == Succeeded(None)
    assert got == [value for _, value in sent]


# --- middlewares --------------------------------------------------------------------------------------


def tracing(name: str, trace: list[str]) -> Callable[[Context, Task, Next], Any]:
    async def middleware(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        trace.append(f"{name} in")
        try:
            return await next(ctx, task)
        finally:
            trace.append(f"{name} out")

    return middleware


async def test_the_first_middleware_is_outermost(runs: Runs) -> None:
    trace: list[str] = []
    mux = mux_of("t")
    mux.middleware(tracing("first", trace))
    mux.middleware(tracing("second", trace))
    for _ in range(2):
        assert await runs.outcome(mux, delivery("t")) == Succeeded(b"t")
    assert trace == ["first in", "second in", "second out", "first out"] * 2


async def test_middlewares_wrap_tasks_without_a_matching_pattern(runs: Runs) -> None:
    trace: list[str] = []
    mux = mux_of("t")
    mux.middleware(tracing("first", trace))
    assert isinstance(await runs.outcome(mux, delivery("x")), Failed)
    assert trace == ["first in", "first out"]


async def test_middlewares_of_a_nested_mux_wrap_its_own_tasks_only(runs: Runs) -> None:
    trace: list[str] = []
    outer, inner = mux_of("a"), mux_of("b:x")
    outer.handle("b:", inner)
    outer.middleware(tracing("outer", trace))
    inner.middleware(tracing("inner", trace))
    await runs.outcome(outer, delivery("a"))
    await runs.outcome(outer, delivery("b:x"))
    assert trace == ["outer in", "outer out", "outer in", "inner in", "inner out", "outer out"]


async def test_a_middleware_may_return_a_result_translate_errors_and_share_values(runs: Runs) -> None:
    mux = ServeMux()

    @mux.middleware
    async def guard(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        if task.headers.get("cached"):
            return b"cached"
        ctx.values["user"] = 42
        try:
            return await next(ctx, task)
        except KeyError as error:
            raise SkipRetry(f"unknown: {error}") from error

    @mux.handler("t")
    def handler(ctx: Context, task: Task) -> int:
        if task.payload:
            raise KeyError("x")
        user: int = ctx.values["user"]
        return user

    assert await runs.outcome(mux, delivery("t", headers={"cached": "1"})) == Succeeded(b"cached")
    assert await runs.outcome(mux, delivery("t")) == Succeeded(b"42")
    outcome = await runs.outcome(mux, delivery("t", payload=b"x"))
    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "unknown: 'x'"


async def test_a_plain_handler_runs_in_another_thread_with_the_context_of_its_middlewares(runs: Runs) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    mux = ServeMux()
    seen: list[Any] = []

    @mux.middleware
    async def setting(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        variable.set("from the middleware")
        return await next(ctx, task)

    @mux.handler("t")
    def handler(ctx: Context, task: Task) -> None:
        seen.append((variable.get(), current_context() is ctx, threading.current_thread()))

    assert await runs.outcome(mux, delivery("t")) == Succeeded()
    [(value, same, thread)] = seen
    assert (value, same) == ("from the middleware", True)
    assert thread is not threading.current_thread()


async def test_a_middleware_ends_after_the_thread_it_wraps(runs: Runs) -> None:
    trace: list[str] = []
    begun = threading.Event()
    mux = ServeMux()
    mux.middleware(tracing("middleware", trace))

    @mux.handler("t")
    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        threading.Event().wait(0.005)
        trace.append("handler out")
        ctx.raise_if_cancelled()

    run = runs.make(mux, delivery("t"), grace=5)
    execution = await started(run)
    await asyncio.to_thread(begun.wait)
    run.cancel(Interrupted("shutdown"))
    assert await execution == Interrupted("shutdown")
    assert trace == ["middleware in", "handler out", "middleware out"]


async def test_a_middleware_can_limit_the_time_of_the_handler(runs: Runs) -> None:
    mux = ServeMux()
    begun, release = threading.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    @mux.middleware
    async def hurried(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        async with asyncio.timeout(None) as ctx.values["limit"]:
            return await next(ctx, task)

    @mux.handler("t")
    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        loop.call_soon_threadsafe(ctx.values["limit"].reschedule, 0)
        release.wait()

    run = runs.make(mux, delivery("t"))
    outcome = await run.execute()
    assert begun.is_set()
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, TimeoutError)
    assert not run.finished.is_set()
    release.set()
    await run.finished.wait()


def test_a_handler_decorator_without_a_pattern_is_refused() -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    with pytest.raises(TypeError, match=r'write @mux\.handler\("type"\)'):
        ServeMux().handler(handler)  # type: ignore[call-overload]
