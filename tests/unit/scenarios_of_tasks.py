"""Scenarios of tasks that are lost, restored, early, or counted incorrectly."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.counters import counters_count_what_happened
from asynq_conformance.histories.checkers.existence import (
    no_task_is_lost,
    nothing_finished_is_handed_out,
    refused_tasks_do_not_exist,
    what_is_handed_out_was_enqueued,
)
from asynq_conformance.histories.checkers.timing import nothing_is_early_or_forgotten
from tests.unit.history_builder import HistoryBuilder, scenario, stored

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


# --- C1 -------------------------------------------------------------------------------------------------


@scenario(no_task_is_lost, "Lost")
def acknowledged_and_lost(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    return history.finish()


@scenario(no_task_is_lost, "Lost")
def delivered_and_lost(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3), "a")
    history.end(ops.Done, "a", (4, 5), "fail")
    return history.finish()


@scenario(no_task_is_lost, "Lost")
def created_twice_and_ended_once(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.end(ops.Done, "a", (2, 3))
    history.enqueue("a", (4, 5))
    return history.finish()


@scenario(no_task_is_lost)
def finished_archived_deleted_or_stored(history: HistoryBuilder) -> History:
    for number, task_id in enumerate("abcd"):
        history.enqueue(task_id, (number, number + 1))
    history.end(ops.Complete, "a", (10, 11))
    history.end(ops.Done, "b", (10, 11), "info")
    history.call(ops.DeleteTask(queue="q", task_id="c"), (10, 11))
    return history.finish(99, stored("d", TaskState.ARCHIVED))


@scenario(no_task_is_lost)
def not_acknowledged_or_finished(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), "info")
    history.enqueue("b", (0, 1), "fail")
    history.enqueue("c", (0, 1))
    history.end(ops.Done, "c", (2, 3))
    return history.finish()


# --- C2 -------------------------------------------------------------------------------------------------


@scenario(what_is_handed_out_was_enqueued, "NeverEnqueued")
def delivered_before_its_enqueue(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a")
    history.enqueue("a", (2, 3))
    return history.finish()


@scenario(what_is_handed_out_was_enqueued, "Altered")
def delivered_with_another_payload(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), payload=b"one")
    history.enqueue("a", (0, 1), "fail", payload=b"two")
    history.dequeue((2, 3), "a", payload=b"two")
    return history.finish()


@scenario(what_is_handed_out_was_enqueued, "FinishedUnseen")
def settled_without_a_delivery(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.end(ops.Done, "a", (2, 3), token="stranger")
    return history.finish()


@scenario(what_is_handed_out_was_enqueued)
def delivered_before_the_answer_to_the_enqueue(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 9), "info", payload=b"one")
    history.dequeue((2, 3), "a", payload=b"one")
    history.end(ops.Done, "a", (4, 5))
    return history.finish()


# --- C10, C11 -------------------------------------------------------------------------------------------


@scenario(nothing_finished_is_handed_out, "Resurrected")
def done_and_delivered_again(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3), "a")
    history.end(ops.Done, "a", (4, 5))
    history.dequeue((6, 7), "a", token="later")
    return history.finish()


@scenario(nothing_finished_is_handed_out, "Resurrected")
def completed_and_delivered_again(history: HistoryBuilder) -> History:
    history.end(ops.Complete, "a", (4, 5))
    history.dequeue((6, 7), "a", token="later")
    return history.finish()


@scenario(nothing_finished_is_handed_out)
def delivered_during_the_settlement(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.end(ops.Done, "a", (4, 8))
    history.dequeue((6, 7), "a", token="later")
    history.end(ops.Done, "b", (4, 5), "info")
    history.dequeue((6, 7), "b", token="later")
    return history.finish()


@scenario(nothing_finished_is_handed_out)
def created_again_or_run_manually(history: HistoryBuilder) -> History:
    history.end(ops.Done, "a", (4, 5))
    history.enqueue("a", (5, 9), "info")
    history.dequeue((6, 7), "a", token="later")
    history.end(ops.Complete, "b", (4, 5))
    history.call(ops.RunTask(queue="q", task_id="b"), (5, 6))
    history.dequeue((8, 9), "b", token="later")
    return history.finish()


@scenario(refused_tasks_do_not_exist, "EffectOfError")
def refused_and_delivered(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), "fail")
    history.dequeue((2, 3), "a")
    return history.finish()


@scenario(refused_tasks_do_not_exist, "EffectOfError")
def refused_and_stored(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), "fail")
    return history.finish(9, stored("a", TaskState.PENDING))


@scenario(refused_tasks_do_not_exist)
def refused_once_and_possibly_created(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), "fail")
    history.enqueue("a", (0, 1), "info")
    history.enqueue("b", (0, 1), "fail")
    history.dequeue((2, 3), "a")
    return history.finish()


# --- C8 -------------------------------------------------------------------------------------------------


@scenario(counters_count_what_happened, "Miscounted")
def one_run_counted_twice(history: HistoryBuilder) -> History:
    history.end(ops.Done, "a", (0, 1))
    return history.finish(processed=2)


@scenario(counters_count_what_happened, "Miscounted", "Miscounted")
def an_uncounted_loss(history: HistoryBuilder) -> History:
    history.end(ops.Done, "a", (0, 1))
    history.recover("b", (0, 1))
    return history.finish(processed=1)


@scenario(counters_count_what_happened)
def counted_within_the_possible_range(history: HistoryBuilder) -> History:
    history.end(ops.Done, "a", (0, 1))
    history.end(ops.Done, "a", (2, 3))
    history.end(ops.Archive, "b", (0, 1), "info")
    history.end(ops.Retry, "c", (0, 1), delay=0, failure=False)
    history.end(ops.Requeue, "d", (0, 1))
    history.recover("e", (0, 1), done=False)
    history.recover("f", (0, 1))
    return history.finish(processed=3, failed=2)


# --- C9 -------------------------------------------------------------------------------------------------


@scenario(nothing_is_early_or_forgotten, "Early")
def scheduled_and_delivered_early(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), delay=1000)
    history.dequeue((900, 990), "a")
    return history.finish()


@scenario(nothing_is_early_or_forgotten, "Early", "Early")
def retried_and_delivered_early(history: HistoryBuilder) -> History:
    history.end(ops.Retry, "a", (0, 1), delay=1000)
    history.dequeue((900, 990), "a")
    history.recover("b", (0, 1), to="retry", delay=500)
    history.dequeue((400, 490), "b")
    return history.finish()


@scenario(nothing_is_early_or_forgotten, "Early")
def rescheduled_and_delivered_early(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), delay=100)
    history.call(ops.UpdateTask(queue="q", task_id="a", process_in=1000), (10, 11))
    history.dequeue((900, 990), "a")
    return history.finish()


@scenario(nothing_is_early_or_forgotten)
def delivered_before_it_was_rescheduled_or_run_by_hand(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), delay=100)
    history.dequeue((150, 160), "a")
    history.call(ops.UpdateTask(queue="q", task_id="a", process_in=1000), (155, 158))
    history.enqueue("b", (0, 1), delay=100)
    history.call(ops.UpdateTask(queue="q", task_id="b", process_in=1000), (10, 11))
    history.call(ops.RunTask(queue="q", task_id="b"), (20, 21))
    history.dequeue((30, 31), "b")
    return history.finish()


@scenario(nothing_is_early_or_forgotten, "Forgotten", "Forgotten", "Forgotten")
def left_in_the_store(history: HistoryBuilder) -> History:
    history.enqueue("z", (0, 1), delay=1000)
    held = [
        stored("a", TaskState.PENDING),
        stored("b", TaskState.SCHEDULED, 10_000),
        stored("c", TaskState.ACTIVE, 10_000),
        stored("d", TaskState.RETRY, 99_999),
        stored("e", TaskState.ARCHIVED, 10_000),
    ]
    return history.finish(100_000, *held, drained=False)


@scenario(nothing_is_early_or_forgotten)
def late_or_left_by_a_troubled_drain(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), delay=1000)
    history.dequeue((900, 1000), "a")
    history.enqueue("b", (0, 1), delay=1000)
    history.call(ops.RunTask(queue="q", task_id="b"), (5, 6))
    history.dequeue((8, 9), "b")
    return history.finish(100_000, stored("c", TaskState.PENDING), drained=False, trouble="no connection")
