from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from asynq.errors import RateLimited, RevokeTask
from asynq.handlers.limits import RateLimit, Semaphore
from asynq.handlers.mux import ServeMux
from asynq.handlers.outcome import Failed, Settlement, decide
from asynq.handlers.retry import RetryPolicy
from asynq.protocol.ops import Archive, Done, Retry
from tests.unit.handler_runs import Runs, delivery

NOW = 1_700_000_000_000
SECOND = timedelta(seconds=1)


def settled(error: Exception, **message: Any) -> Settlement | None:
    return decide(delivery(**message), Failed(error), RetryPolicy(rng=Random(1)), NOW)


@pytest.mark.parametrize("retried", [0, 3])
def test_a_limited_task_waits_for_the_given_time_and_is_not_counted(retried: int) -> None:
    op = settled(RateLimited(timedelta(seconds=7, microseconds=1), "s"), max_retry=3, retried=retried)
    assert isinstance(op, Retry)
    assert (op.delay, op.failure, op.error) == (7001, False, "held back by 's' for 7 s")


def test_a_limit_as_the_cause_of_another_error_takes_effect() -> None:
    error = ValueError("later")
    error.__cause__ = RateLimited(SECOND)
    assert isinstance(settled(error, max_retry=0), Retry)
    assert isinstance(settled(ExceptionGroup("all", [RateLimited(SECOND)]), max_retry=0), Retry)


def test_a_task_past_its_deadline_does_not_wait_for_a_limit() -> None:
    assert isinstance(settled(RateLimited(SECOND), deadline=NOW // 1000), Archive)


def test_a_revoked_task_is_deleted_although_it_was_limited() -> None:
    error = RevokeTask()
    error.__cause__ = RateLimited(SECOND)
    assert isinstance(settled(error), Done)


@pytest.mark.parametrize(("value", "error"), [(3, TypeError), (-SECOND, ValueError)])
def test_an_invalid_waiting_time_is_refused(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="retry_in"):
        RateLimited(value)


@pytest.mark.parametrize(
    ("scope", "limit", "options", "error", "name"),
    [
        ("", 1, {}, ValueError, "scope"),
        (b"s", 1, {}, TypeError, "scope"),
        ("s", 0, {}, ValueError, "limit"),
        ("s", 1.5, {}, TypeError, "limit"),
        ("s", 1, {"retry_in": 5}, TypeError, "retry_in"),
        ("s", 1, {"retry_in": -SECOND}, ValueError, "retry_in"),
        ("s", 1, {"lapse": SECOND / 2}, ValueError, "lapse"),
    ],
)
def test_an_invalid_semaphore_is_refused(
    scope: Any, limit: Any, options: dict[str, Any], error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        Semaphore(scope, limit, **options)


@pytest.mark.parametrize(
    ("scope", "limit", "per", "error", "name"),
    [
        (" ", 1, SECOND, ValueError, "scope"),
        ("s", -1, SECOND, ValueError, "limit"),
        ("s", 10_001, SECOND, ValueError, "limit"),
        ("s", 1, 60, TypeError, "per"),
        ("s", 1, timedelta(0), ValueError, "per"),
    ],
)
def test_an_invalid_rate_is_refused(
    scope: Any, limit: Any, per: Any, error: type[Exception], name: str
) -> None:
    with pytest.raises(error, match=name):
        RateLimit(scope, limit, per)


# --- middlewares of one handler -------------------------------------------------------------------------


async def test_middlewares_of_a_handler_run_inside_those_of_its_mux(runs: Runs) -> None:
    seen: list[str] = []

    def noting(name: str) -> Any:
        async def middleware(ctx: Any, task: Any, next: Any) -> Any:  # noqa: A002
            seen.append(name)
            return await next(ctx, task)

        return middleware

    mux = ServeMux()
    mux.middleware(noting("mux"))
    mux.handle("a", lambda ctx, task: seen.append("a"), middlewares=[noting("first"), noting("second")])
    mux.handle("b", lambda ctx, task: seen.append("b"))
    await runs.outcome(mux, delivery("a"))
    await runs.outcome(mux, delivery("b"))
    assert seen == ["mux", "first", "second", "a", "mux", "b"]


def test_an_invalid_middleware_is_refused_and_the_pattern_stays_free() -> None:
    mux = ServeMux()
    lacking: Any = lambda ctx, task: None  # noqa: E731
    with pytest.raises(TypeError, match="a middleware must be"):
        mux.handle("t", lambda ctx, task: None, middlewares=[lacking])
    mux.handle("t", lambda ctx, task: None)
