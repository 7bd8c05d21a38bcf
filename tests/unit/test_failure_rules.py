"""What a handler declares about failures: delays, final errors, timeout, concurrency."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from asynq import (
    Backoff,
    Client,
    Context,
    HandlerNotFoundError,
    MemoryBroker,
    RateLimited,
    RetryIn,
    RevokeTask,
    ServeMux,
    Server,
    SkipRetry,
    Task,
    TaskTimeoutError,
)
from asynq.handlers.failure_rules import FailureRules
from asynq.handlers.outcome import Failed, Succeeded, decide
from asynq.handlers.retry import RetryPolicy
from asynq.instants import instant_of
from asynq.protocol.ops import Archive, Done, Retry
from asynq.testing import run_until_idle
from tests.unit.handler_runs import delivery

if TYPE_CHECKING:
    from asynq.handlers.outcome import Settlement
    from tests.unit.handler_runs import Runs

SECOND = timedelta(seconds=1)


def mux_with(pattern: str = "t", **options: Any) -> ServeMux:
    mux = ServeMux()
    mux.handle(pattern, lambda ctx, task: None, **options)
    return mux


def settled(mux: ServeMux, error: Exception, task_type: str = "t", **policy: Any) -> Settlement | None:
    rules = RetryPolicy(rng=Random(1), rules_of=mux.failure_rules, **policy)
    return decide(delivery(task_type, max_retry=5), Failed(error), rules, 0)


@pytest.mark.parametrize("own", [SECOND, Backoff(SECOND, jitter=0), lambda retried, error, task: 1])
def test_the_delay_of_a_handler_overrides_that_of_the_server(own: Any) -> None:
    op = settled(mux_with(retry_delay=own), ValueError(), delay=timedelta(hours=1))
    assert isinstance(op, Retry)
    assert op.delay == 1000


def test_other_handlers_have_the_delay_of_the_server() -> None:
    mux = mux_with(retry_delay=SECOND)
    mux.handle("other", lambda ctx, task: None)
    for task_type in ("other", "unknown"):
        op = settled(mux, ValueError(), task_type, delay=timedelta(hours=1))
        assert isinstance(op, Retry)
        assert op.delay == 3_600_000


def test_a_delay_that_raises_is_replaced_by_the_default(caplog: pytest.LogCaptureFixture) -> None:
    op = settled(mux_with(retry_delay=lambda retried, error, task: 1 / 0), ValueError(), delay=SECOND)
    assert isinstance(op, Retry)
    assert 15_000 <= op.delay <= 44_000
    assert "retry_delay failed" in caplog.text


@pytest.mark.parametrize(
    ("options", "error", "op"),
    [
        ({"archive_on": ValueError}, ValueError(), Archive),
        ({"archive_on": (KeyError, ValueError)}, UnicodeError(), Archive),
        ({"archive_on": ValueError}, KeyError(), Retry),
        ({"retry_on": OSError}, TimeoutError(), Retry),
        ({"retry_on": OSError}, ValueError(), Archive),
        ({"retry_on": OSError, "archive_on": FileNotFoundError}, FileNotFoundError(), Archive),
        ({"retry_on": ()}, ValueError(), Archive),
        ({"retry_on": OSError}, TaskTimeoutError(""), Retry),
        ({"archive_on": TaskTimeoutError}, TaskTimeoutError(""), Archive),
        ({"retry_on": OSError}, ExceptionGroup("", [OSError(), ValueError()]), Archive),
        ({"retry_on": OSError}, ExceptionGroup("", [OSError()]), Retry),
        ({"archive_on": ValueError}, ExceptionGroup("", [OSError(), ValueError()]), Archive),
        ({"retry_on": SkipRetry}, SkipRetry(), Archive),
        ({"archive_on": Exception}, RateLimited(SECOND), Retry),
        ({"archive_on": Exception}, RevokeTask(), Done),
    ],
)
def test_a_handler_declares_which_errors_are_final(
    options: dict[str, Any], error: Exception, op: type[Settlement]
) -> None:
    assert isinstance(settled(mux_with(**options), error), op)


def test_an_error_that_only_caused_another_one_is_not_final() -> None:
    error = KeyError()
    error.__cause__ = ValueError()
    assert isinstance(settled(mux_with(archive_on=ValueError), error), Retry)


def test_rules_of_a_nested_mux_override_those_around_it_one_by_one() -> None:
    inner, outer = mux_with("a:x", retry_delay=SECOND), ServeMux()

    @inner.middleware
    async def passing(ctx: Context, task: Task, next: Any) -> Any:  # noqa: A002
        return await next(ctx, task)

    inner.handle("a:y", lambda ctx, task: None, middlewares=[passing])
    outer.handle("a:", inner, retry_delay=timedelta(minutes=1), archive_on=ValueError, middlewares=[passing])
    assert outer.failure_rules("a:x") == FailureRules(retry_delay=SECOND, archive_on=ValueError)
    assert outer.failure_rules("a:y").retry_delay == timedelta(minutes=1)
    assert outer.failure_rules("b").retry_delay is None


def test_a_retry_that_the_handler_asks_for_is_no_error_that_retry_on_concerns() -> None:
    op = settled(mux_with(retry_on=ConnectionError, retry_delay=SECOND), RetryIn(2 * SECOND))
    assert isinstance(op, Retry)
    assert op.delay == 2000
    assert isinstance(settled(mux_with(archive_on=RetryIn), RetryIn(SECOND)), Archive)


@pytest.mark.parametrize("unknown", ["retry", "archive"])
def test_a_task_of_an_unknown_type_is_retried_or_archived(unknown: Any) -> None:
    outer = ServeMux(unknown=unknown)
    outer.handle("a:", mux_with("a:x"))
    for task_type in ("b", "a:y"):
        op = settled(outer, HandlerNotFoundError(task_type), task_type)
        assert isinstance(op, Archive if unknown == "archive" else Retry)


def test_unknown_types_are_archived_in_addition_to_other_errors() -> None:
    mux = ServeMux(unknown="archive")
    mux.handle("t", lambda ctx, task: None, archive_on=ValueError)
    for error in (ValueError(), HandlerNotFoundError("t")):
        assert isinstance(settled(mux, error), Archive)


async def test_a_handler_has_a_timeout_that_shortens_that_of_the_task(runs: Runs) -> None:
    found: list[Any] = []

    def deadline(ctx: Context, task: Task) -> None:
        found.append(ctx.deadline)

    for own, of_task in ((60, 90), (90, 60)):
        mux = ServeMux()
        mux.handle("t", deadline, timeout=timedelta(seconds=own))
        assert await runs.outcome(mux, delivery(timeout=of_task)) == Succeeded(None)
    assert found[0] == found[1] == instant_of(runs.clock.now() + 60_000)


async def test_a_run_that_exceeds_the_timeout_of_its_handler_is_cancelled(runs: Runs) -> None:
    mux = ServeMux()

    @mux.handler("t", timeout=timedelta(milliseconds=20))
    async def forever(ctx: Context, task: Task) -> None:
        await asyncio.Event().wait()

    outcome = await runs.outcome(mux, delivery(timeout=60))
    assert isinstance(outcome, Failed)
    assert str(outcome.error) == "the task ran longer than its timeout of 0.02 s"


def test_the_concurrency_of_a_handler_is_limited_by_a_semaphore() -> None:
    mux, broker = ServeMux(), MemoryBroker()
    inside: list[str] = []

    @mux.task("t", concurrency=1)
    async def one_at_a_time(ctx: Context, name: str) -> None:
        inside.append(name)
        if name == "first":
            with pytest.raises(RateLimited) as refused:
                await mux(ctx, one_at_a_time("second"))
            assert refused.value.scope == "handler:t"

    with Client(broker) as client:
        client.enqueue_many([one_at_a_time("first"), one_at_a_time("third")])
        run_until_idle(broker, mux)
    assert inside == ["first", "third"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"retry_delay": "1s"}, TypeError, "retry_delay must be a timedelta, a Backoff or a function"),
        ({"retry_delay": -SECOND}, ValueError, "retry_delay must not be negative"),
        ({"retry_delay": lambda error: 1}, TypeError, "retry_delay must take"),
        ({"retry_on": ValueError()}, TypeError, "retry_on must be a class of exceptions"),
        ({"archive_on": (ValueError, "x")}, TypeError, "archive_on must be a class of exceptions"),
        ({"archive_on": KeyboardInterrupt}, TypeError, "archive_on must be a class of exceptions"),
        ({"timeout": timedelta(0)}, ValueError, "timeout must be positive"),
        ({"timeout": 5}, TypeError, "timeout must be a timedelta"),
        ({"concurrency": 0}, ValueError, "limit must be at least 1"),
    ],
)
def test_invalid_options_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        mux_with(**options)


def test_an_invalid_option_of_a_mux_is_refused() -> None:
    unknown: Any = "drop"
    with pytest.raises(ValueError, match="unknown must be one of 'retry', 'archive'"):
        ServeMux(unknown=unknown)


def test_a_server_takes_a_fixed_delay() -> None:
    Server(MemoryBroker(), retry_delay=SECOND)
    with pytest.raises(ValueError, match="retry_delay must not be negative"):
        Server(MemoryBroker(), retry_delay=-SECOND)


def test_a_backoff_grows_to_its_maximum() -> None:
    backoff = Backoff(SECOND, factor=3, maximum=timedelta(seconds=20), jitter=0)
    delays = [backoff(retried, ValueError(), Task("t")) for retried in (0, 1, 2, 3, 4, 10_000)]
    assert [delay.total_seconds() for delay in delays] == [1, 3, 9, 20, 20, 20]


def test_the_jitter_of_a_backoff_only_shortens_delays() -> None:
    backoff = Backoff(timedelta(seconds=100), jitter=0.25, rng=Random(1))
    delays = {backoff(0, ValueError(), Task("t")).total_seconds() for _ in range(1000)}
    assert len(delays) > 900
    assert 75 <= min(delays) < 76
    assert 99 < max(delays) <= 100


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"initial": timedelta(0)}, ValueError, "initial must be positive"),
        ({"initial": 1}, TypeError, "initial must be a timedelta"),
        ({"factor": 0.5}, ValueError, "factor must be between 1 and inf"),
        ({"factor": float("nan")}, ValueError, "factor must be between 1 and inf"),
        ({"jitter": 2}, ValueError, "jitter must be between 0 and 1"),
        ({"jitter": "much"}, TypeError, "jitter must be a number, not str"),
        ({"maximum": -SECOND}, ValueError, "maximum must not be negative"),
    ],
)
def test_an_invalid_backoff_is_refused(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Backoff(**{"initial": SECOND} | arguments)
