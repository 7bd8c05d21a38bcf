"""Brokers with defects in what they do with completed tasks that others follow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from msgspec import structs

from asynq.errors import TaskStateError
from asynq.protocol.followers import HELD, RESULT_HEADER, members_of
from asynq.protocol.ops import (
    Arrive,
    Complete,
    Enqueue,
    FinishParent,
    PurgeCompleted,
    TakeParents,
    UpdateTask,
)
from asynq.task_state import TaskState
from asynq_mutants.defects import caught_by, instead_of
from asynq_sqlite.store.followers import kept_beyond
from asynq_sqlite.store.rows import UndecodableError, decode
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq_sqlite.store.rows import FullRow, TaskRow


@caught_by("test_the_followers_of_a_parent_can_be_enqueued_at_any_time", bug=85)
@instead_of(PurgeCompleted)
def purges_parents(correct: Any, store: TaskStore, op: PurgeCompleted, now: int) -> Any:
    parents = store.parents(op.queue, now, op.limit)
    store.delete([row.task for row in parents])
    return correct(store, op, now) + len(parents)


@caught_by("test_a_parent_that_is_held_is_not_taken_until_its_hold_ends")
@caught_by("test_concurrent_callers_take_each_parent_once", bug=86)
class HoldsNoParent(TaskStore):
    def hold_parent(self, task: TaskRow, until: int) -> int:
        del until
        return task.rank


@caught_by("test_a_parent_that_is_held_is_not_taken_until_its_hold_ends", bug=87)
class HoldsParentsForEver(TaskStore):
    def hold_parent(self, task: TaskRow, until: int) -> int:
        return super().hold_parent(task, until + HELD * 1000)


@caught_by("test_a_parent_that_is_not_held_as_answered_is_left_alone", bug=88, event="taken")
@instead_of(FinishParent)
def lets_any_parent_go(correct: Any, store: TaskStore, op: FinishParent, now: int) -> Any:
    del correct, now
    task = store.find(op.queue, op.task_id)
    if task is None or task.state != TaskState.COMPLETED:
        return False
    store.delete([task])
    return True


@caught_by("test_a_parent_that_is_not_held_as_answered_is_left_alone", event="run")
@instead_of(FinishParent)
def deletes_a_parent_that_runs_again(correct: Any, store: TaskStore, op: FinishParent, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is None or task.state == TaskState.COMPLETED:
        return correct(store, op, now)
    store.delete([task])
    return True


@caught_by("test_a_parent_is_kept_for_its_own_retention")
@instead_of(FinishParent)
def forgets_the_retention_of_a_parent(correct: Any, store: TaskStore, op: FinishParent, now: int) -> Any:
    return correct(
        store, FinishParent(queue=op.queue, task_id=op.task_id, held_until=op.held_until, retention=0), now
    )


@caught_by("test_a_parent_is_not_replaced_before_its_followers_are_enqueued", bug=89)
@instead_of(Enqueue)
def replaces_parents(correct: Any, store: TaskStore, op: Enqueue, now: int) -> Any:
    task = store.find(op.message.queue, op.message.id)
    if op.on_conflict == "replace_finished" and task is not None and task.state == TaskState.COMPLETED:
        store.delete([task])
    return correct(store, op, now)


@caught_by("test_no_other_completed_task_is_taken")
class TakesEveryCompletedTask(TaskStore):
    def parents(self, queue: str, now: int, limit: int) -> list[FullRow]:
        return self.first(queue, TaskState.COMPLETED, limit, upto=now + HELD * 1000)


@caught_by("test_a_completed_parent_is_taken_with_its_message_and_result")
@instead_of(Complete)
def forgets_parents(correct: Any, store: TaskStore, op: Complete, now: int) -> Any:
    answer = correct(store, op, now)
    task = store.find(op.delivery.message.queue, op.delivery.message.id)
    if task is not None and task.rank > kept_beyond(now):
        store.move(task, store.due_place(TaskState.COMPLETED, now + 1000), lease_token=task.lease_token)
    return answer


@caught_by("test_parents_of_other_queues_are_not_taken")
@instead_of(TakeParents)
def takes_parents_of_every_queue(correct: Any, store: TaskStore, op: TakeParents, now: int) -> Any:
    found: tuple[Any, ...] = ()
    for (queue,) in store.fetch("SELECT name FROM queues ORDER BY name"):
        found += correct(store, TakeParents(queue=queue, hold=op.hold, limit=op.limit), now)
    return found


@caught_by("test_parents_are_taken_in_the_order_in_which_they_ended_and_at_most_the_limit")
class TakesMoreParentsThanAsked(TaskStore):
    def parents(self, queue: str, now: int, limit: int) -> list[FullRow]:
        return super().parents(queue, now, limit + 1)


@caught_by("test_a_member_that_arrives_again_changes_nothing", bug=90)
class CountsMembersTwice(TaskStore):
    """The result of a member that arrives again is taken for that of the next one."""

    def write_headers(self, task: TaskRow, headers: Mapping[str, str]) -> None:
        if headers == json.loads(task.headers):
            count = sum(name.startswith(RESULT_HEADER) for name in headers)
            headers = {**headers, f"{RESULT_HEADER}{count}": "-"}
        super().write_headers(task, headers)


@caught_by("test_it_runs_with_all_results_when_the_last_member_has_arrived", bug=91)
@instead_of(Arrive)
def runs_after_the_first_member(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    return correct(store, structs.replace(op, members=1), now)


@caught_by("test_it_runs_with_all_results_when_the_last_member_has_arrived", bug=92)
@instead_of(Arrive)
def waits_for_one_more(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    return correct(store, structs.replace(op, members=op.members + 1), now)


@caught_by("test_a_member_that_arrives_again_changes_nothing", bug=93)
class KeepsTheLastResult(TaskStore):
    def write_headers(self, task: TaskRow, headers: Mapping[str, str]) -> None:
        if headers == json.loads(task.headers):
            headers = {
                name: "other" if name.startswith(RESULT_HEADER) else text for name, text in headers.items()
            }
        super().write_headers(task, headers)


@caught_by("test_a_task_that_does_not_wait_any_more_is_left_alone", state="run by hand")
@instead_of(Arrive)
def tells_a_task_that_runs(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    task = store.find(op.queue, op.task_id)
    if task is not None and task.state == TaskState.PENDING:
        store.write_headers(task, {**json.loads(task.headers), f"{RESULT_HEADER}{op.member}": op.result})
    return correct(store, op, now)


@caught_by(
    "test_a_member_of_a_task_that_had_the_same_id_does_not_arrive",
    other={"member_id": "m2"},
)
@instead_of(Arrive)
def tells_a_task_that_waits_for_others(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    row = store.read(op.queue, op.task_id)
    if row is not None and (members := members_of(decode(row))):
        queue, task_id = members[op.member]
        op = structs.replace(op, member_queue=queue, member_id=task_id)
    return correct(store, op, now)


@caught_by("test_the_task_can_be_given_a_payload_but_no_due_time")
@instead_of(UpdateTask)
def gives_a_waiting_task_a_due_time(correct: Any, store: TaskStore, op: UpdateTask, now: int) -> Any:
    try:
        return correct(store, op, now)
    except TaskStateError:
        task = store.find(op.queue, op.task_id)
        if task is None or task.state != TaskState.SCHEDULED or task.sequence:
            raise
        store.reschedule(task, now + (op.process_in or 0), "")


@caught_by("test_a_task_that_is_gone_cannot_be_told")
@instead_of(Arrive)
def ignores_a_task_that_is_gone(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    return 0 if store.find(op.queue, op.task_id) is None else correct(store, op, now)


@caught_by(
    "test_an_undecodable_task_cannot_be_told",
    on_file=True,
    beyond_programs="only damage from outside makes a task undecodable",
)
@instead_of(Arrive)
def ignores_a_task_that_is_undecodable(correct: Any, store: TaskStore, op: Arrive, now: int) -> Any:
    row = store.read(op.queue, op.task_id)
    if row is not None:
        try:
            decode(row)
        except UndecodableError:
            return 0
    return correct(store, op, now)
