"""Brokers with defects in leases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from msgspec.structs import replace

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Done, Enqueue, Extended, ExtendLease, Recover, Requeue, Retry
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.task_store import Place, TaskStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq_sqlite.store.rows import FullRow, TaskRow


def _any_token(task: TaskRow, token: str) -> bool:
    return task.state == TaskState.ACTIVE


@caught_by("test_a_stale_token_changes_nothing", settle="retry")
@caught_by("test_a_stale_worker_cannot_write_a_result")
class AcceptsAnyToken(TaskStore):
    def check_token(self, task: TaskRow, token: str) -> bool:
        return _any_token(task, token)


@caught_by("test_a_stale_token_changes_nothing", bug=4, settle="done")
@instead_of(Done)
def is_done_by_anybody(correct: Any, store: TaskStore, op: Done, now: int) -> Any:
    with mock.patch.object(store, "check_token", _any_token):
        return correct(store, op, now)


@caught_by("test_a_stale_lease_cannot_be_extended", bug=5)
@instead_of(ExtendLease)
def is_extended_by_anybody(correct: Any, store: TaskStore, op: ExtendLease, now: int) -> Any:
    with mock.patch.object(store, "check_token", _any_token):
        return correct(store, op, now)


@caught_by("test_a_worker_cannot_settle_a_recovered_task", to="pending")
class ForgetsToEndTheLease(TaskStore):
    def check_token(self, task: TaskRow, token: str) -> bool:
        return task.lease_token in (token, None)


@caught_by("test_a_run_with_an_expired_lease_can_be_settled_until_it_is_recovered", bug=12, settle="done")
class RefusesLapsedLeases(TaskStore):
    def check_token(self, task: TaskRow, token: str) -> bool:
        now = self.connection.execute("SELECT max(created_at) FROM tasks").fetchone()[0]
        return super().check_token(task, token) and task.rank > now + 60_000


@caught_by("test_an_extension_never_shortens_a_lease", bug=7)
class ShortensLeases(TaskStore):
    def extend_lease(self, task: TaskRow, expires_at: int) -> int:
        self.connection.execute("UPDATE tasks SET rank = ? WHERE seq = ?", (expires_at, task.seq))
        return expires_at


@caught_by("test_an_extension_of_a_lease_counts_from_the_present")
class ExtendsNothing(TaskStore):
    def extend_lease(self, task: TaskRow, expires_at: int) -> int:
        return expires_at


@caught_by("test_a_task_is_delivered_once")
class HandsOutTwice(TaskStore):
    def pending_count(self, queue: str, limit: int) -> int:
        return limit

    def pop_pending(self, queue: str, limit: int) -> list[FullRow]:
        return super().pop_pending(queue, limit) or self.first(queue, TaskState.ACTIVE, 1)


@caught_by("test_a_repeated_dequeue_returns_the_tasks_it_already_holds")
@caught_by("test_a_repeated_full_dequeue_takes_no_further_task")
class ForgetsWhatATokenHolds(TaskStore):
    def held_by(self, token: str) -> list[FullRow]:
        return []


@caught_by("test_a_lease_is_lost_from_the_instant_of_its_expiry", bug=8, offset=-1, lost=False)
class RecoversTooEarly(TaskStore):
    def lost(self, queue: str, now: int, limit: int) -> list[FullRow]:
        return super().lost(queue, now + 5, limit)


@caught_by("test_a_lease_is_lost_from_the_instant_of_its_expiry", offset=0, lost=True)
class RecoversTooLate(TaskStore):
    def lost(self, queue: str, now: int, limit: int) -> list[FullRow]:
        return super().lost(queue, now - 1, limit)


@caught_by("test_lost_leases_are_listed_oldest_first_up_to_the_limit")
class ListsAllLosses(TaskStore):
    def lost(self, queue: str, now: int, limit: int) -> list[FullRow]:
        return super().lost(queue, now, limit + 1)


@caught_by("test_a_lease_is_lost_from_the_instant_of_its_expiry", bug=1, offset=0, lost=True)
class MakesNoLease(TaskStore):
    def put_leases(self, tasks: Sequence[TaskRow], token: str, expires_at: int) -> None:
        for task in tasks:
            self.move(task, Place(TaskState.ACTIVE, expires_at))


@caught_by("test_a_delivered_task_is_active_and_has_a_lease", bug=2)
class LeavesTakenTasksPending(TaskStore):
    def put_leases(self, tasks: Sequence[TaskRow], token: str, expires_at: int) -> None:
        for task in tasks:
            self.move(task, self.head(task.queue, expires_at), lease_token=token)


@caught_by("test_a_stale_token_changes_nothing", bug=3, settle="done")
class LeasesWithTheLastToken(TaskStore):
    def move(self, task: TaskRow, place: Place, **columns: Any) -> None:
        if task.lease_token is not None:
            columns["lease_token"] = task.lease_token
        super().move(task, place, **columns)

    def put_leases(self, tasks: Sequence[TaskRow], token: str, expires_at: int) -> None:
        for task in tasks:
            super().put_leases([task], task.lease_token or token, expires_at)


@caught_by("test_extending_never_creates_a_task", bug=6)
@instead_of(ExtendLease)
def brings_finished_tasks_back(correct: Any, store: TaskStore, op: ExtendLease, now: int) -> Any:
    if store.find(op.lease.queue, op.lease.task_id) is not None:
        return correct(store, op, now)
    message = TaskMessage(id=op.lease.task_id, queue=op.lease.queue, type="type", payload=b"")
    store.insert(Enqueue(message=message, enqueue_id="e"), Place(TaskState.ACTIVE, now), 0, now)
    return Extended(expires_at=now + op.duration, cancel="")


@caught_by("test_a_task_recovered_as_pending_is_delivered_next", bug=9)
@instead_of(Recover)
def loses_what_it_recovers(correct: Any, store: TaskStore, op: Recover, now: int) -> Any:
    recovered = correct(store, op, now)
    if (task := store.find(op.lost.message.queue, op.lost.message.id)) is not None and recovered:
        store.delete([task])
    return recovered


@caught_by("test_a_task_recovered_as_retry_is_due_after_its_delay", bug=10)
@instead_of(Recover)
def leaves_the_recovered_active(correct: Any, store: TaskStore, op: Recover, now: int) -> Any:
    recovered = correct(store, op, now)
    if (task := store.find(op.lost.message.queue, op.lost.message.id)) is not None and recovered:
        store.move(task, Place(TaskState.ACTIVE, task.rank))
    return recovered


@caught_by("test_a_task_recovered_as_archived_is_in_the_archive", bug=11)
@instead_of(Recover)
def lets_the_exhausted_run_again(correct: Any, store: TaskStore, op: Recover, now: int) -> Any:
    return correct(store, replace(op, to="pending"), now)


@caught_by("test_a_settled_task_has_no_lease", bug=13, settle="retry")
@instead_of(Retry)
def keeps_the_lease_of_a_retry(correct: Any, store: TaskStore, op: Retry, now: int) -> Any:
    correct(store, op, now)
    task = store.find(op.delivery.message.queue, op.delivery.message.id)
    assert task is not None
    store.move(task, Place(TaskState.ACTIVE, op.delivery.expires_at), lease_token=op.delivery.token)


@caught_by("test_a_settled_task_has_no_lease", bug=14, settle="requeue")
@instead_of(Requeue)
def keeps_the_lease_of_a_requeue(correct: Any, store: TaskStore, op: Requeue, now: int) -> Any:
    correct(store, op, now)
    task = store.find(op.delivery.message.queue, op.delivery.message.id)
    assert task is not None
    store.move(task, Place(TaskState.ACTIVE, op.delivery.expires_at), lease_token=op.delivery.token)


@caught_by(
    "test_an_orphan_is_recovered_after_its_grace_period",
    bug=15,
    on_file=True,
    beyond_programs="only damage from outside leaves a task without its lease",
)
class AdoptsNobody(TaskStore):
    def active_after(self, queue: str, seq: int, limit: int) -> list[TaskRow]:
        return []
