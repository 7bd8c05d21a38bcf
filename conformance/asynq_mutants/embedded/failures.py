"""Brokers that lose failed attempts, or keep what is none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from msgspec.structs import replace

from asynq.protocol import failures
from asynq.protocol.failures import Failure, headers_with, without_failures
from asynq.protocol.ops import Recover, Retry
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq_sqlite.store.rows import TaskRow


def _without(message: TaskMessage) -> TaskMessage:
    return replace(message, headers=without_failures(message.headers))


@caught_by("test_the_last_attempts_are_kept_in_their_order", bug=94)
@instead_of(Retry)
def forgets_earlier_attempts(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    delivery = replace(op.delivery, message=_without(op.delivery.message))
    return correct(store, replace(op, delivery=delivery), now)


@caught_by("test_what_moves_a_task_keeps_its_failed_attempts")
@instead_of(Recover)
def forgets_the_attempts_before_a_loss(correct: Any, store: TaskStore, op: Recover, now: int) -> Any:
    return correct(store, replace(op, lost=replace(op.lost, message=_without(op.lost.message))), now)


@caught_by("test_an_attempt_that_does_not_count_as_failed_is_not_kept")
@instead_of(Retry)
def keeps_what_is_no_failure(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    answer, message = correct(store, op, now), op.delivery.message
    if not op.failure and (task := store.find(message.queue, message.id)) is not None:
        failure = Failure(message.retried + 1, now, TaskState.RETRY, op.error)
        store.write_headers(task, headers_with(message, failure))
    return answer


@caught_by(
    "test_the_last_attempts_are_kept_in_their_order",
    beyond_programs="no task of a program fails so often",
)
@instead_of(Retry)
def keeps_all_attempts(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    with mock.patch.object(failures, "MAX_FAILURES", 1000):
        return correct(store, op, now)


@caught_by("test_a_failed_attempt_is_kept_with_the_task", to="archived")
@caught_by("test_an_attempt_whose_worker_was_lost_is_kept_with_the_task", to="pending")
class KeepsNoAttempts(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        columns.pop("headers", None)
        super().move(task, place, **columns)
