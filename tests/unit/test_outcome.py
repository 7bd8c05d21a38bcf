"""What follows from the end of a run."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import RateLimited, RetryIn, RevokeTask, SkipRetry, TaskTimeoutError
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Settlement, Succeeded, decide
from asynq.handlers.retry import MAX_RETRY_DELAY, RetryPolicy
from asynq.protocol.message import Delivery, TaskMessage
from asynq.protocol.ops import Archive, Complete, Done, Requeue, Retry

if TYPE_CHECKING:
    from asynq.handlers.outcome import Outcome

NOW = 1_700_000_000_000


def delivery(**message: Any) -> Delivery:
    return Delivery(message=TaskMessage(id="1", type="t", queue="q", **message), token="x", expires_at=NOW)


def settle(outcome: Outcome, rules: RetryPolicy | None = None, **message: Any) -> Settlement | None:
    return decide(delivery(**message), outcome, rules or RetryPolicy(rng=Random(1)), NOW)


def raised_from(cause: Exception) -> Exception:
    error = ValueError("outer")
    error.__cause__ = cause
    return error


def test_success_deletes_the_task() -> None:
    assert settle(Succeeded(b"result")) == Done(delivery=delivery())


def test_success_with_retention_keeps_task_and_result() -> None:
    assert settle(Succeeded(b"r"), retention=60) == Complete(delivery=delivery(retention=60), result=b"r")


def test_failure_is_retried_with_its_error() -> None:
    op = settle(Failed(ValueError("boom")), retried=3)
    assert isinstance(op, Retry)
    assert (op.error, op.failure) == ("ValueError: boom", True)
    assert 96_000 <= op.delay <= 212_000


@pytest.mark.parametrize(("retried", "expected"), [(1, Retry), (2, Archive), (3, Archive)])
def test_failure_without_retries_left_is_archived(retried: int, expected: type) -> None:
    assert isinstance(settle(Failed(ValueError()), retried=retried, max_retry=2), expected)


@pytest.mark.parametrize(
    "error",
    [
        SkipRetry("no"),
        raised_from(SkipRetry("no")),
        raised_from(raised_from(SkipRetry("no"))),
        ExceptionGroup("several", [ValueError(), ExceptionGroup("inner", [SkipRetry()])]),
    ],
)
def test_a_wrapped_skip_retry_archives(error: Exception) -> None:
    assert isinstance(settle(Failed(error)), Archive)


@pytest.mark.parametrize(
    "error", [RevokeTask(), raised_from(RevokeTask()), ExceptionGroup("g", [RevokeTask()])]
)
def test_revoke_deletes_the_task_even_without_retries_left(error: Exception) -> None:
    assert isinstance(settle(Failed(error), max_retry=0, retention=60), Done)


def test_an_error_with_skip_retry_only_as_its_context_is_retried() -> None:
    error = ValueError()
    error.__context__ = SkipRetry()
    assert isinstance(settle(Failed(error)), Retry)


def test_errors_that_cause_each_other_are_handled() -> None:
    first, second = ValueError(), ValueError()
    first.__cause__, second.__cause__ = second, first
    assert isinstance(settle(Failed(first)), Retry)


@pytest.mark.parametrize(("deadline", "expected"), [(NOW // 1000, Archive), (NOW // 1000 + 1, Retry)])
def test_a_task_past_its_deadline_is_archived(deadline: int, expected: type) -> None:
    assert isinstance(settle(Failed(TaskTimeoutError("late")), deadline=deadline), expected)


def test_an_error_that_is_not_a_failure_is_retried_without_counting() -> None:
    rules = RetryPolicy(rng=Random(1), is_failure=lambda error: not isinstance(error, KeyError))
    busy, broken = settle(Failed(KeyError()), rules), settle(Failed(ValueError()), rules)
    assert isinstance(busy, Retry)
    assert isinstance(broken, Retry)
    assert (busy.failure, broken.failure) == (False, True)


class Careless(RateLimited):
    def __init__(self) -> None:
        """A limit without a waiting time."""


def test_an_error_that_cannot_be_inspected_is_retried_and_then_archived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    op = settle(Failed(Careless()), retried=1)
    assert isinstance(op, Retry)
    assert (op.failure, op.delay) == (True, 60_000)
    assert "Careless" in op.error
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert isinstance(settle(Failed(Careless()), retried=25), Archive)


def test_the_wait_for_a_limit_is_bounded_by_the_maximum_delay() -> None:
    op = settle(Failed(RateLimited(timedelta(days=292 * 365))))
    assert isinstance(op, Retry)
    assert op.delay == MAX_RETRY_DELAY // timedelta(milliseconds=1)


ASKED = RetryIn(timedelta(seconds=30), "503 from the mail server")


@pytest.mark.parametrize("error", [ASKED, raised_from(ASKED), ExceptionGroup("g", [ValueError(), ASKED])])
def test_a_handler_chooses_the_delay_of_a_retry_that_counts(error: Exception) -> None:
    rules = RetryPolicy(rng=Random(1), delay=timedelta(hours=1))
    op = settle(Failed(error), rules, retried=1, max_retry=2)
    assert isinstance(op, Retry)
    assert (op.delay, op.failure) == (30_000, True)
    op = settle(Failed(error), rules, retried=2, max_retry=2)
    assert isinstance(op, Archive)


def test_a_retry_in_a_chosen_time_is_stored_with_its_reason() -> None:
    op = settle(Failed(ASKED))
    assert isinstance(op, Retry)
    assert op.error == "503 from the mail server"
    op = settle(Failed(RetryIn(timedelta(milliseconds=1500))))
    assert isinstance(op, Retry)
    assert op.error == "the handler asks for a retry in 1.5 s"


def test_a_chosen_delay_is_bounded_by_the_maximum_delay() -> None:
    op = settle(Failed(RetryIn(timedelta(days=292 * 365))))
    assert isinstance(op, Retry)
    assert op.delay == MAX_RETRY_DELAY // timedelta(milliseconds=1)


@pytest.mark.parametrize(("value", "error"), [(5, TypeError), (timedelta(-1), ValueError)])
def test_an_invalid_delay_is_refused_where_it_is_raised(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="retry_in"):
        RetryIn(value)


def test_a_task_cancelled_with_archive_is_archived_with_the_reason() -> None:
    op = settle(Cancelled("archive"))
    assert isinstance(op, Archive)
    assert "cancelled" in op.error


def test_a_task_cancelled_with_retry_uses_a_retry_or_is_archived() -> None:
    assert isinstance(settle(Cancelled("retry")), Retry)
    assert isinstance(settle(Cancelled("retry"), max_retry=0), Archive)


def test_shutdown_requeues_the_task_and_a_lost_lease_writes_nothing() -> None:
    assert settle(Interrupted("shutdown")) == Requeue(delivery=delivery())
    assert settle(Interrupted("lease_lost")) is None


class Broken:
    """A number whose operators all raise."""

    def _raises(self, *_: object) -> Any:
        raise RuntimeError("no")

    __add__ = __radd__ = __sub__ = __neg__ = __floordiv__ = __lt__ = __gt__ = __le__ = __ge__ = _raises
    __float__ = __int__ = __index__ = __bool__ = __mul__ = __eq__ = _raises
    __hash__ = object.__hash__


class OwnDelta(Broken, timedelta):
    pass


class OwnInt(Broken, int):
    pass


class OwnFloat(Broken, float):
    pass


class Pretender:
    """An object that pretends to be a timedelta."""

    @property
    def __class__(self) -> Any:
        return timedelta

    @__class__.setter
    def __class__(self, _: Any) -> None:
        raise AttributeError


ANSWERS_OF_NONSENSE = [
    None,
    "5",
    True,
    -1,
    timedelta(seconds=-1),
    timedelta.min,
    -(10**400),
    float("-inf"),
    float("nan"),
    datetime(2030, 1, 1, tzinfo=UTC),
    Decimal(5),
    Broken(),
    Pretender(),
    object(),
]


@pytest.mark.parametrize(
    ("answer", "delay"),
    [
        (timedelta(seconds=1.5), 1500),
        (2, 2000),
        (0.0001, 1),
        (0, 0),
        (timedelta.max, MAX_RETRY_DELAY // timedelta(milliseconds=1)),
        (2.0**100, MAX_RETRY_DELAY // timedelta(milliseconds=1)),
        (float("inf"), MAX_RETRY_DELAY // timedelta(milliseconds=1)),
        (10**400, MAX_RETRY_DELAY // timedelta(milliseconds=1)),
        (timedelta(days=8000 * 365), MAX_RETRY_DELAY // timedelta(milliseconds=1)),
        (OwnDelta(seconds=3), 3000),
        (OwnInt(3), 3000),
        (OwnFloat(0.5), 500),
    ],
)
def test_retry_delay_may_return_a_timedelta_or_seconds(answer: timedelta | float, delay: int) -> None:
    op = settle(Failed(ValueError()), RetryPolicy(rng=Random(1), delay=lambda *_: answer))
    assert isinstance(op, Retry)
    assert op.delay == delay


@pytest.mark.parametrize("answer", ANSWERS_OF_NONSENSE)
def test_an_invalid_retry_delay_is_logged_and_the_default_used(
    answer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    op = settle(Failed(ValueError()), RetryPolicy(rng=Random(1), delay=lambda *_: answer))
    assert isinstance(op, Retry)
    assert 15_000 <= op.delay <= 44_000
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


@pytest.mark.parametrize("raised", [RuntimeError("user bug"), SystemExit(1), KeyboardInterrupt()], ids=repr)
def test_callbacks_that_raise_are_logged_and_the_defaults_used(
    raised: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> Any:
        raise raised

    op = settle(Failed(ValueError()), RetryPolicy(rng=Random(1), delay=broken, is_failure=broken))
    assert isinstance(op, Retry)
    assert (op.failure, 15_000 <= op.delay <= 44_000) == (True, True)
    assert len(caplog.records) == 2


def test_retry_delay_receives_retries_error_and_task() -> None:
    told: list[Any] = []

    def delay(*arguments: Any) -> timedelta:
        told.extend(arguments)
        return timedelta(0)

    error = ValueError("boom")
    settle(Failed(error), RetryPolicy(rng=Random(1), delay=delay), retried=4, payload=b"p")
    assert told[:2] == [4, error]
    assert (told[2].type, told[2].payload) == ("t", b"p")
