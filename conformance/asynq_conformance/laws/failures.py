"""Laws of the failed attempts that are kept with a task."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from msgspec.structs import replace

from asynq.protocol import ops
from asynq.protocol.failures import (
    FAILURES_HEADER,
    LARGEST_WITH_FAILURES,
    MAX_ERROR_BYTES,
    MAX_FAILURES,
    Failure,
    failures_of,
    without_failures,
)
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR, SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.laws.transfer import transfer
from asynq_conformance.promises import promise

Target = Literal["pending", "retry", "archived"]
NESTED = '[[1,1,"retry","e",1,' + "[" * 5_000 + "]" * 5_000 + "]]"
"""A valid record with a member more, which is nested too deeply for a decoder."""


def history(lab: Lab) -> tuple[Failure, ...]:
    """The failed attempts of the task."""
    return failures_of(lab.task("t").message)


def fail(lab: Lab, *errors: str) -> None:
    """Take the task, which is pending, and let it fail with one error after the other."""
    for error in errors:
        lab.execute(ops.Retry(delivery=lab.take(), delay=0, error=error))
        lab.advance(SECOND)
        lab.execute(ops.Forward(queue="q"))


@promise("G8")
class FailureLaws(Laws):
    """The last failed attempts of a task are kept with it, in their order."""

    @pytest.mark.parametrize("to", ["retry", "archived"])
    def test_a_failed_attempt_is_kept_with_the_task(self, lab: Lab, to: Any) -> None:
        lab.enqueue(replace(lab.message(), headers={"user": "own"}))
        delivery = lab.take()
        assert without_failures(delivery.message.headers) == delivery.message.headers
        lab.advance(1234)
        settle: ops.Op[None] = ops.Archive(delivery=delivery, error="boom ☃")
        if to == "retry":
            settle = ops.Retry(delivery=delivery, delay=HOUR, error="boom ☃")
        lab.execute(settle)
        kept = (Failure(1, lab.now, TaskState(to), "boom ☃", 1234),)
        assert history(lab) == kept
        assert without_failures(lab.task("t").message.headers) == {"user": "own"}
        lab.advance(1)
        lab.execute(settle)  # the same settlement once more
        assert history(lab) == kept

    @pytest.mark.parametrize("to", ["pending", "retry", "archived"])
    def test_an_attempt_whose_worker_was_lost_is_kept_with_the_task(self, lab: Lab, to: Target) -> None:
        lab.enqueue(lab.message(max_retry=0))
        lab.recover(lab.take(), to)
        assert history(lab) == (Failure(1, lab.now, TaskState(to), "lost"),)

    def test_an_attempt_that_does_not_count_as_failed_is_not_kept(self, lab: Lab) -> None:
        lab.enqueue("t")
        lab.execute(ops.Requeue(delivery=lab.take()))
        lab.execute(ops.Retry(delivery=lab.take(), delay=HOUR, error="not yet", failure=False))
        assert lab.task("t").message.headers == {}

    def test_the_last_attempts_are_kept_in_their_order(self, lab: Lab) -> None:
        lab.enqueue("t")
        errors = ["same", "same", *(f"{number // 2}" for number in range(MAX_FAILURES)), "long" * 3000]
        fail(lab, *errors)
        kept = history(lab)
        assert [each.number for each in kept] == [*range(len(errors) - MAX_FAILURES + 1, len(errors) + 1)]
        assert [each.error for each in kept[:-1]] == errors[-MAX_FAILURES:-1]
        assert [each.at for each in kept] == sorted({each.at for each in kept})
        last = (kept[-1].error or "").removesuffix("…")
        assert errors[-1].startswith(last)
        assert MAX_ERROR_BYTES - 10 < len(last) < MAX_ERROR_BYTES
        assert lab.task("t").message.error == errors[-1]

    def test_what_moves_a_task_keeps_its_failed_attempts(self, lab: Lab) -> None:
        lab.enqueue("t")
        fail(lab, "first")
        lab.execute(ops.Archive(delivery=lab.take(), error="second"))
        lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=b"other"))
        lab.execute(ops.RunTask(queue="q", task_id="t"))
        transfer(lab, "t")
        lab.recover(lab.take(), "pending")
        assert [(each.number, each.error) for each in history(lab)] == [
            (1, "first"),
            (2, "second"),
            (3, "lost"),
        ]
        lab.execute(ops.Complete(delivery=lab.take()))

    def test_those_of_a_completed_task_are_kept_with_its_result(self, lab: Lab) -> None:
        lab.enqueue(lab.message(retention=60))
        fail(lab, "first")
        lab.execute(ops.Complete(delivery=lab.take(), result=b"42"))
        assert (lab.state("t"), len(history(lab))) == (TaskState.COMPLETED, 1)

    def test_a_large_task_is_settled_without_a_record(self, lab: Lab) -> None:
        lab.enqueue(lab.message(payload=bytes(LARGEST_WITH_FAILURES + 1)))
        fail(lab, "first", "second")
        stored = lab.task("t").message
        assert (stored.headers, stored.error, stored.retried) == ({}, "second", 2)

    @pytest.mark.parametrize(
        "damage", ["", "{", '[[1,2,"nowhere","e"]]', "[[1]]", pytest.param(NESTED, id="nested")]
    )
    def test_a_damaged_record_begins_anew(self, lab: Lab, damage: str) -> None:
        lab.enqueue(replace(lab.message(), headers={FAILURES_HEADER: damage}))
        fail(lab, "boom")
        assert [each.error for each in history(lab)] == ["boom"]
