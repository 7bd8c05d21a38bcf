"""The failed attempts of a task: what is kept, who sees them, and what they cost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from asynq import AsyncClient, FailureInfo, MemoryBroker, Task, TaskInfo, TaskState
from asynq.errors import PayloadTooLargeError
from asynq.protocol.failures import (
    FAILURES_HEADER,
    MAX_ERROR_BYTES,
    MAX_FAILURES,
    Failure,
    failures_of,
    headers_with,
)
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.protocol.ops import ImportTask
from asynq.protocol.transfer import TaskImage
from asynq.protocol.value_sizes import message_size
from tests.unit.handler_runs import Runs, delivery

EMPTY = TaskMessage(id="1", type="t", queue="q", payload=b"x", headers={"user": "own"})
RETRY = TaskState.RETRY


def after(message: TaskMessage, *failures: Failure) -> TaskMessage:
    for failure in failures:
        message = replace(message, headers=headers_with(message, failure))
    return message


FAILED = after(EMPTY, Failure(1, 1_500, RETRY, "boom", 250), Failure(2, 4_000, TaskState.PENDING, "lost"))


def test_an_info_shows_the_failed_attempts_apart_from_the_headers() -> None:
    info = TaskInfo.of(StoredTask(message=FAILED, state=TaskState.PENDING))
    assert info.headers == {"user": "own"}
    assert info.failures == (
        FailureInfo(
            number=1,
            at=datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
            error="boom",
            became=RETRY,
            ran_for=timedelta(milliseconds=250),
        ),
        FailureInfo(
            number=2, at=datetime(1970, 1, 1, 0, 0, 4, tzinfo=UTC), error="lost", became=TaskState.PENDING
        ),
    )


async def test_a_handler_does_not_see_them(runs: Runs) -> None:
    assert Task.from_message(FAILED).headers == {"user": "own"}
    ctx = runs.make(lambda ctx, task: None, delivery(headers=FAILED.headers)).context
    assert ctx.headers == {"user": "own"}


async def test_a_client_cannot_write_them() -> None:
    async with AsyncClient(MemoryBroker()) as client:
        with pytest.raises(ValueError, match="the header asynq-failures is reserved"):
            await client.enqueue(Task("t", headers={FAILURES_HEADER: "[]"}))


def test_numbers_go_on_after_a_run_by_hand_and_skip_attempts_that_others_did_not_record() -> None:
    numbers = [
        each.number for each in failures_of(after(FAILED, Failure(2, 0, RETRY, ""), Failure(9, 0, RETRY, "")))
    ]
    assert numbers == [1, 2, 3, 9]


def test_an_error_that_repeats_is_kept_once() -> None:
    error = "e" * MAX_ERROR_BYTES
    failed = after(EMPTY, *(Failure(number, number, RETRY, error) for number in range(1, 20)))
    assert len(failed.headers[FAILURES_HEADER]) < MAX_ERROR_BYTES + 40 * MAX_FAILURES
    assert {each.error for each in failures_of(failed)} == {error}


@pytest.mark.parametrize("error", ["☃" * 1000, "a" + "☃" * 1000, "\udcff", '"\\\n\x1b' * 300])
def test_a_text_is_cut_between_characters(error: str) -> None:
    [kept] = failures_of(after(EMPTY, Failure(1, 1, RETRY, error)))
    shown = (kept.error or "").removesuffix("…")
    assert shown == "?" or (len(shown) > 90 and error.startswith(shown))
    assert len((kept.error or "").encode()) <= MAX_ERROR_BYTES


def test_a_task_is_not_too_large_because_of_its_failures() -> None:
    broker = MemoryBroker(max_value_bytes=message_size(EMPTY))
    assert broker.execute(ImportTask(image=TaskImage(message=FAILED, state=TaskState.PENDING)))
    image = TaskImage(message=replace(FAILED, id="2", payload=b"xx"), state=TaskState.PENDING)
    with pytest.raises(PayloadTooLargeError) as refused:
        broker.execute(ImportTask(image=image))
    assert refused.value.size == message_size(EMPTY) + 1
