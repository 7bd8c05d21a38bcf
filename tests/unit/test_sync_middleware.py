"""Middlewares that are plain functions: in the thread or process of the handler."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import HandlerNotFoundError, SkipRetry, TaskTimeoutError
from asynq.handlers.context import Context, current_context
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Failed, Interrupted, Succeeded
from tests.unit import process_handlers
from tests.unit.handler_runs import delivery, started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from asynq.client.task import Task
    from asynq.handlers.middleware import Next
    from asynq.handlers.sync_middleware import SyncNext
    from tests.unit.handler_runs import Runs

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="")


@pytest.fixture
def runs(runs: Runs) -> Iterator[Runs]:
    """Runs whose processes end with the test."""
    yield runs
    runs.processes.close()


class Trace:
    """Middlewares and handlers that record when and in which thread they run."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.threads: list[int] = []

    def step(self, name: str) -> None:
        self.steps.append(name)
        self.threads.append(threading.get_ident())

    def sync(self, name: str) -> Callable[[Context, Task, SyncNext], Any]:
        def middleware(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
            self.step(f"{name} in")
            try:
                return next(ctx, task)
            finally:
                self.step(f"{name} out")

        return middleware

    def awaited(self, name: str) -> Callable[[Context, Task, Next], Any]:
        async def middleware(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
            self.step(f"{name} in")
            try:
                return await next(ctx, task)
            finally:
                self.step(f"{name} out")

        return middleware

    def handler(self, ctx: Context, task: Task) -> str:
        self.step("handler")
        return "done"

    async def async_handler(self, ctx: Context, task: Task) -> str:
        self.step("handler")
        return "done"


def nested(names: str) -> list[str]:
    """The steps of middlewares with these names of one letter, around a handler."""
    return [*(f"{name} in" for name in names), "handler", *(f"{name} out" for name in reversed(names))]


async def test_a_plain_middleware_runs_in_the_thread_of_a_plain_handler(runs: Runs) -> None:
    trace, mux = Trace(), ServeMux()
    mux.middleware(trace.sync("a"))
    mux.handle("t", trace.handler, middlewares=[trace.sync("b")])
    assert await runs.outcome(mux, delivery("t")) == Succeeded(b"done")
    assert trace.steps == nested("ab")
    assert len(set(trace.threads)) == 1
    assert threading.get_ident() not in trace.threads


async def test_it_shares_context_variables_values_and_the_context_with_the_handler(runs: Runs) -> None:
    mux, seen = ServeMux(), list[Any]()

    @mux.middleware
    async def outer(ctx: Context, task: Task, next: Next) -> Any:  # noqa: A002
        variable.set("async")
        return await next(ctx, task)

    @mux.middleware
    def inner(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        seen.append(variable.get())
        variable.set("sync")
        ctx.values["x"] = 1
        return next(ctx, task)

    @mux.handler("plain")
    def plain(ctx: Context, task: Task) -> None:
        seen.append((variable.get(), ctx.values, current_context() is ctx))

    @mux.handler("async")
    async def awaited(ctx: Context, task: Task) -> None:
        seen.append((variable.get(), ctx.values, current_context() is ctx))

    for kind in ("plain", "async"):
        assert await runs.outcome(mux, delivery(kind)) == Succeeded()
    assert seen == ["async", ("sync", {"x": 1}, True)] * 2


@pytest.mark.parametrize("kind", ["handler", "async_handler"])
async def test_async_middlewares_are_outside_and_the_first_of_a_kind_is_outermost(
    runs: Runs, kind: str
) -> None:
    trace, outer, inner = Trace(), ServeMux(), ServeMux()
    outer.middleware(trace.sync("d"))
    outer.middleware(trace.awaited("a"))
    inner.middleware(trace.sync("e"))
    inner.middleware(trace.awaited("b"))
    own = [trace.sync("f"), trace.awaited("c"), trace.sync("g")]
    inner.handle("t", getattr(trace, kind), middlewares=own)
    outer.handle("t", inner)
    for _ in range(2):
        assert await runs.outcome(outer, delivery("t")) == Succeeded(b"done")
    assert trace.steps == nested("abcdefg") * 2
    here = threading.get_ident()
    assert [thread == here for thread in trace.threads[:8]] == [True] * 3 + [False] * 4 + [kind != "handler"]


async def test_middlewares_of_a_mux_around_another_one_without_any(runs: Runs) -> None:
    trace, outer, inner = Trace(), ServeMux(), ServeMux()
    outer.middleware(trace.sync("a"))
    inner.handle("t", trace.handler)
    outer.handle("t", inner)
    innermost = ServeMux()
    innermost.handle("x", trace.async_handler)
    inner.handle("x", innermost)
    outer.handle("x", inner)
    for kind in ("t", "x"):
        assert await runs.outcome(outer, delivery(kind)) == Succeeded(b"done")
    assert trace.steps == nested("a") * 2


async def test_a_middleware_added_later_wraps_the_next_tasks(runs: Runs) -> None:
    trace, mux = Trace(), ServeMux()
    mux.handle("t", trace.handler)
    await runs.outcome(mux, delivery("t"))
    mux.middleware(trace.sync("a"))
    await runs.outcome(mux, delivery("t"))
    assert trace.steps == ["handler", *nested("a")]


async def test_it_does_not_see_tasks_without_a_handler(runs: Runs) -> None:
    trace, mux = Trace(), ServeMux()
    mux.middleware(trace.sync("a"))
    outcome = await runs.outcome(mux, delivery("t"))
    assert isinstance(outcome, Failed)
    assert isinstance(outcome.error, HandlerNotFoundError)
    assert trace.steps == []


@pytest.mark.parametrize("is_async", [False, True])
async def test_it_may_return_another_result_translate_errors_and_call_the_handler_twice(
    runs: Runs, *, is_async: bool
) -> None:
    mux = ServeMux()

    @mux.middleware
    def guard(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        if task.payload == b"cached":
            return "cached"
        try:
            return next(ctx, task)
        except KeyError as error:
            ctx.values["again"] = True
            if task.payload == b"again":
                return next(ctx, task)
            raise SkipRetry(f"unknown: {error}") from error

    def plain(ctx: Context, task: Task) -> str:
        if not ctx.values.get("again"):
            raise KeyError("x")
        return "second"

    async def awaited(ctx: Context, task: Task) -> str:
        await asyncio.sleep(0)
        return plain(ctx, task)

    mux.handle("t", awaited if is_async else plain, retry_on=ValueError, timeout=None)
    assert await runs.outcome(mux, delivery("t", payload=b"cached")) == Succeeded(b"cached")
    assert await runs.outcome(mux, delivery("t", payload=b"again")) == Succeeded(b"second")
    outcome = await runs.outcome(mux, delivery("t"))
    assert isinstance(outcome, Failed)
    assert (type(outcome.error), str(outcome.error)) == (SkipRetry, "unknown: 'x'")


async def test_a_typed_handler_decodes_its_payload_inside_of_it(runs: Runs) -> None:
    mux, seen = ServeMux(), list[Any]()

    @mux.middleware
    def look(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        seen.append(task.payload)
        return next(ctx, task)

    @mux.handler("t", payload=int)
    def handler(ctx: Context, number: int) -> int:
        return number + 1

    assert await runs.outcome(mux, delivery("t", payload=b"4")) == Succeeded(b"5")
    assert seen == [b"4"]


async def test_an_async_handler_that_is_cancelled_ends_before_the_middleware(runs: Runs) -> None:
    trace, mux, begun = Trace(), ServeMux(), asyncio.Event()
    mux.middleware(trace.sync("a"))

    @mux.handler("t")
    async def handler(ctx: Context, task: Task) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            trace.step("handler")

    run = runs.make(mux, delivery("t"), grace=5)
    execution = await started(run)
    await begun.wait()
    run.cancel(Interrupted("shutdown"))
    assert await execution == Interrupted("shutdown")
    assert trace.steps == nested("a")
    await run.finished.wait()


async def test_a_middleware_that_is_cancelled_first_calls_no_async_handler(runs: Runs) -> None:
    mux, begun, called = ServeMux(), threading.Event(), list[int]()

    @mux.middleware
    def slow(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        begun.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        return next(ctx, task)

    @mux.handler("t")
    async def handler(ctx: Context, task: Task) -> None:
        called.append(1)

    run = runs.make(mux, delivery("t", timeout=0), grace=5)
    execution = await started(run)
    await asyncio.to_thread(begun.wait)
    run.cancel(Interrupted("shutdown"))
    assert await execution == Interrupted("shutdown")
    assert called == []


async def test_system_exit_of_an_async_handler_fails_its_run_alone(runs: Runs) -> None:
    trace, mux = Trace(), ServeMux()
    mux.middleware(trace.sync("a"))

    @mux.handler("t")
    async def handler(ctx: Context, task: Task) -> None:
        trace.step("handler")
        raise SystemExit(3)

    assert isinstance(await runs.outcome(mux, delivery("t")), Failed)
    assert trace.steps == nested("a")


async def test_a_plain_middleware_sees_the_timeout_of_its_run(runs: Runs) -> None:
    mux, seen, begun = ServeMux(), list[Any](), threading.Event()

    @mux.middleware
    def timing(ctx: Context, task: Task, next: SyncNext) -> Any:  # noqa: A002
        try:
            return next(ctx, task)
        except TaskTimeoutError as error:
            seen.append(type(error))
            raise

    @mux.handler("t")
    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        while True:
            threading.Event().wait(0.001)
            ctx.raise_if_cancelled()

    run = runs.make(mux, delivery("t"), grace=5)
    execution = await started(run)
    await asyncio.to_thread(begun.wait)
    run.run.expire()
    assert isinstance(await execution, Failed)
    assert seen == [TaskTimeoutError]


# --- in a process ---------------------------------------------------------------------------------------


async def test_a_plain_middleware_runs_in_the_process_of_the_handler(runs: Runs) -> None:
    mux = ServeMux()
    mux.middleware(process_handlers.Marking("m"))
    mux.handle("t", process_handlers.traced, executor="process", middlewares=[process_handlers.tracing])
    outcome = await runs.outcome(mux, delivery("t"))
    assert isinstance(outcome, Succeeded)
    process, thread, *handler = json.loads(outcome.result or b"")
    assert handler == [process, thread, "from the middleware", True, "m"]
    assert process != os.getpid()
    failed = await runs.outcome(mux, delivery("t", payload=b"missing"))
    assert isinstance(failed, Failed)
    assert (type(failed.error), str(failed.error)) == (SkipRetry, "missing in True")


def local() -> Any:
    def middleware(ctx: Context, task: Task, next: SyncNext) -> Any: ...  # noqa: A002

    return middleware


@pytest.mark.parametrize(
    "middleware", [local(), lambda ctx, task, rest: None, process_handlers.Marking(local())]
)
def test_a_middleware_that_a_process_cannot_import_is_refused(middleware: Any) -> None:
    mux, outer = ServeMux(), ServeMux()
    mux.handle("t", process_handlers.pid, executor="process", timeout=None)
    outer.handle("t", mux)
    for one in (mux, outer):
        with pytest.raises(TypeError, match="executor='process'"):
            one.middleware(middleware)
    mux = ServeMux()
    mux.middleware(middleware)
    with pytest.raises(TypeError, match="executor='process'"):
        mux.handle("t", process_handlers.pid, executor="process")
    assert mux.patterns == ()
