from __future__ import annotations

import asyncio
import functools
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import HandlerError, ResultError, SkipRetry, TaskDeadlineError, TaskTimeoutError
from asynq.handlers.context import CancelReason, Context, current_context
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Outcome, Succeeded
from tests.unit.handler_runs import delivery, started

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.client.task import Task
    from asynq.handlers.adapters import Handler
    from tests.unit.handler_runs import Runs


def fail(error: BaseException) -> Any:
    raise error


def failure(outcome: Outcome) -> Exception:
    assert isinstance(outcome, Failed)
    return outcome.error


async def returns_async(ctx: Context, task: Task) -> bytes:
    return task.payload.upper()


def returns_plain(ctx: Context, task: Task) -> bytes:
    return task.payload.upper()


def returns_with_option(option: str, ctx: Context, task: Task) -> bytes:
    return task.payload.upper()


class Returns:
    def __call__(self, ctx: Context, task: Task) -> bytes:
        return task.payload.upper()


class ReturnsAsync:
    async def __call__(self, ctx: Context, task: Task) -> bytes:
        return task.payload.upper()


HANDLERS: list[Handler] = [
    returns_async,
    returns_plain,
    functools.partial(returns_with_option, "x"),
    functools.partial(returns_async),
    Returns(),
    ReturnsAsync(),
    Returns().__call__,
    functools.partial(ReturnsAsync()),
    lambda ctx, task: returns_async(ctx, task),  # noqa: PLW0108 - a plain function around an async one
]


@pytest.mark.parametrize("handler", HANDLERS)
async def test_a_handler_is_any_callable_of_context_and_task(runs: Runs, handler: Handler) -> None:
    assert await runs.outcome(handler, delivery(payload=b"abc")) == Succeeded(b"ABC")


@pytest.mark.parametrize(
    ("returned", "result"),
    [(None, None), (b"", b""), (b"raw", b"raw"), ("é", "é".encode()), ({"a": [1]}, b'{"a":[1]}'), (0, b"0")],
)
async def test_the_return_value_of_a_handler_is_the_result(
    runs: Runs, returned: Any, result: bytes | None
) -> None:
    assert await runs.outcome(lambda ctx, task: returned) == Succeeded(result)


@pytest.mark.parametrize("returned", [object(), {object()}, float("nan"), "\ud800"])
async def test_a_result_that_cannot_be_stored_fails_permanently(runs: Runs, returned: Any) -> None:
    error = failure(await runs.outcome(lambda ctx, task: returned))
    assert isinstance(error, ResultError)
    assert isinstance(error, SkipRetry)
    assert "the handler's result" in str(error)


def recurse() -> None:
    recurse()


class UnprintableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


class Abrupt(BaseException):
    pass


class HidesItsCause(Exception):  # noqa: N818
    @property
    def __cause__(self) -> BaseException | None:  # type: ignore[override]
        raise RuntimeError("no")


class HidesItsClass(Exception):  # noqa: N818
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise SystemExit


class Undecided(SkipRetry):
    def __bool__(self) -> bool:
        raise RuntimeError("no")


RAISED: list[BaseException] = [
    ValueError("boom"),
    UnprintableError(),
    ExceptionGroup("several", [ValueError("one")]),
    SkipRetry("no use"),
    MemoryError(),
]
ENDED: list[BaseException] = [
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    Abrupt("now"),
    BaseExceptionGroup("several", [Abrupt()]),
]


@pytest.mark.parametrize("kind", [HidesItsCause, HidesItsClass, Undecided])
@pytest.mark.parametrize("wrapped", [True, False])
async def test_an_error_that_cannot_be_inspected_is_a_failure_with_that_reason(
    runs: Runs, kind: type[Exception], wrapped: bool
) -> None:
    error = ExceptionGroup("several", [kind("boom")]) if wrapped else kind("boom")
    found = failure(await runs.outcome(lambda ctx, task: fail(error)))
    assert type(found) is HandlerError
    assert "cannot be inspected" in str(found)


@pytest.mark.parametrize("error", RAISED, ids=repr)
@pytest.mark.parametrize("plain", [True, False])
async def test_an_exception_of_the_handler_is_the_failure(
    runs: Runs, error: BaseException, plain: bool
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise error

    assert failure(await runs.outcome((lambda ctx, task: fail(error)) if plain else handler)) is error


@pytest.mark.parametrize("error", ENDED, ids=repr)
@pytest.mark.parametrize("plain", [True, False])
async def test_no_exception_of_a_handler_ends_the_server(
    runs: Runs, error: BaseException, plain: bool
) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        raise error

    run = runs.make((lambda ctx, task: fail(error)) if plain else handler)
    assert isinstance(failure(await run.execute()), HandlerError)
    await run.finished.wait()


async def test_the_failure_names_the_exception_of_the_handler(runs: Runs) -> None:
    error = failure(await runs.outcome(lambda ctx, task: fail(SystemExit(3))))
    assert str(error) == "the handler raised SystemExit: 3"
    assert isinstance(error.__cause__, SystemExit)


@pytest.mark.parametrize("raised", [StopIteration(), StopAsyncIteration()], ids=repr)
async def test_stop_iteration_in_a_thread_is_a_failure_like_any_other(runs: Runs, raised: Exception) -> None:
    error = failure(await runs.outcome(lambda ctx, task: fail(raised)))
    assert raised in (error, error.__cause__)


async def test_endless_recursion_is_a_failure(runs: Runs) -> None:
    assert isinstance(failure(await runs.outcome(lambda ctx, task: recurse())), RecursionError)


async def test_a_handler_that_cancels_itself_has_failed(runs: Runs) -> None:
    async def handler(ctx: Context, task: Task) -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    assert isinstance(failure(await runs.outcome(handler)), HandlerError)


# --- time ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "deadline", "ends_after"),
    [
        (60, 0, 60),
        (60, 30, 30),
        (30, 60, 30),
        (0, 7200, 7200),
        (0, 0, 1800),
        (2**62, 0, None),
        (0, 2**62, None),
    ],
)
async def test_a_run_ends_at_its_timeout_or_deadline_whichever_is_first(
    runs: Runs, limit: int, deadline: int, ends_after: int | None
) -> None:
    seconds = runs.clock.now() // 1000
    run = runs.make(returns_async, delivery(timeout=limit, deadline=deadline and seconds + deadline))
    if ends_after is not None:
        assert run.context.deadline == datetime.fromtimestamp(seconds + ends_after, UTC)
    assert await run.execute() == Succeeded(b"")


@pytest.mark.parametrize("late", [0, 1, 10**9])
async def test_a_task_past_its_deadline_is_neither_run_nor_retried(runs: Runs, late: int) -> None:
    called = []
    message = delivery(deadline=runs.clock.now() // 1000 - late, timeout=60)
    run = runs.make(lambda ctx, task: called.append(task), message)
    error = failure(await run.execute())
    assert isinstance(error, TaskDeadlineError)
    assert isinstance(error, SkipRetry)
    assert called == []
    assert run.finished.is_set()


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Move the clock of the running event loop forward."""
    loop = asyncio.get_running_loop()
    tell = loop.time
    monkeypatch.setattr(loop, "time", lambda: tell() + seconds)


async def test_a_timeout_cancels_an_async_handler(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    reasons = []

    async def handler(ctx: Context, task: Task) -> None:
        pass_time(monkeypatch, 60.1)
        try:
            await asyncio.Event().wait()
        finally:
            reasons.append(ctx.cancel_reason)

    run = runs.make(handler, delivery(timeout=60))
    error = failure(await run.execute())
    assert type(error) is TaskTimeoutError
    assert str(error) == "the task ran longer than its timeout of 60 s"
    assert reasons == [CancelReason.TIMEOUT]
    assert run.finished.is_set()


async def test_a_deadline_passing_during_the_run_is_final(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    reasons = []

    def handler(ctx: Context, task: Task) -> None:
        begun.set()
        while not ctx.cancelled:
            threading.Event().wait(0.001)
        reasons.append(ctx.cancel_reason)
        ctx.raise_if_cancelled()

    run = runs.make(handler, delivery(deadline=runs.clock.now() // 1000 + 60), grace=5)
    execution = await started(run)
    await asyncio.to_thread(begun.wait)
    pass_time(monkeypatch, 60.1)
    error = failure(await execution)
    assert isinstance(error, TaskDeadlineError)
    assert reasons == [CancelReason.DEADLINE]


async def test_a_handler_that_blocks_the_loop_past_its_deadline_keeps_its_outcome(runs: Runs) -> None:
    async def handler(ctx: Context, task: Task) -> bytes:
        threading.Event().wait(0.01)
        return b"late but done"

    deadline = runs.clock.now() // 1000 + 1
    runs.clock.set(deadline * 1000 - 5)
    assert await runs.outcome(handler, delivery(deadline=deadline)) == Succeeded(b"late but done")


# --- a task that is not to run at all -----------------------------------------------------------------


@pytest.mark.parametrize("then", ["archive", "retry"])
async def test_a_task_cancelled_before_its_start_is_not_run(runs: Runs, then: Any) -> None:
    called: list[Task] = []
    assert await runs.outcome(lambda ctx, task: called.append(task), delivery(cancel=then)) == Cancelled(then)
    assert called == []


async def test_a_run_cancelled_before_execution_does_not_call_its_handler(runs: Runs) -> None:
    called: list[Task] = []
    run = runs.make(lambda ctx, task: called.append(task))
    run.cancel(Interrupted("shutdown"))
    assert await run.execute() == Interrupted("shutdown")
    assert called == []
    assert run.finished.is_set()


async def test_a_task_is_requeued_if_no_thread_is_available(runs: Runs) -> None:
    runs.threads.close()
    assert await runs.outcome(returns_plain) == Interrupted("shutdown")


# --- what handlers are told ---------------------------------------------------------------------------


async def test_the_context_is_available_anywhere_in_a_run(runs: Runs) -> None:
    seen: list[Context] = []

    def note(ctx: Context, task: Task) -> None:
        seen.append(current_context())

    async def anote(ctx: Context, task: Task) -> None:
        note(ctx, task)

    handlers: list[Callable[[Context, Task], Any]] = [note, anote]
    made = [runs.make(handler) for handler in handlers]
    for run in made:
        await run.execute()
    assert seen == [run.context for run in made]
    with pytest.raises(LookupError, match="outside of any run"):
        current_context()
