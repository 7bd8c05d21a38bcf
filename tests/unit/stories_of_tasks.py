"""Stories of tasks that vanish, come back, come early, or are counted wrongly."""

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
from tests.unit.tales import Tale, stored, story

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


# --- C1 -------------------------------------------------------------------------------------------------


@story(no_task_is_lost, "Lost")
def acknowledged_and_gone(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    return tale.over()


@story(no_task_is_lost, "Lost")
def taken_and_gone(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 3), "a")
    tale.end(ops.Done, "a", (4, 5), "fail")
    return tale.over()


@story(no_task_is_lost, "Lost")
def two_lives_and_one_end(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.end(ops.Done, "a", (2, 3))
    tale.enqueue("a", (4, 5))
    return tale.over()


@story(no_task_is_lost)
def finished_archived_deleted_or_still_there(tale: Tale) -> History:
    for number, task_id in enumerate("abcd"):
        tale.enqueue(task_id, (number, number + 1))
    tale.end(ops.Complete, "a", (10, 11))
    tale.end(ops.Done, "b", (10, 11), "info")
    tale.call(ops.DeleteTask(queue="q", task_id="c"), (10, 11))
    return tale.over(99, stored("d", TaskState.ARCHIVED))


@story(no_task_is_lost)
def acknowledged_by_nobody(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), "info")
    tale.enqueue("b", (0, 1), "fail")
    tale.enqueue("c", (0, 1))
    tale.end(ops.Done, "c", (2, 3))
    return tale.over()


# --- C2 -------------------------------------------------------------------------------------------------


@story(what_is_handed_out_was_enqueued, "NeverEnqueued")
def out_of_nowhere(tale: Tale) -> History:
    tale.dequeue((0, 1), "a")
    tale.enqueue("a", (2, 3))
    return tale.over()


@story(what_is_handed_out_was_enqueued, "Altered")
def another_payload(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), payload=b"one")
    tale.enqueue("a", (0, 1), "fail", payload=b"two")
    tale.dequeue((2, 3), "a", payload=b"two")
    return tale.over()


@story(what_is_handed_out_was_enqueued, "FinishedUnseen")
def finished_by_a_stranger(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.end(ops.Done, "a", (2, 3), token="stranger")
    return tale.over()


@story(what_is_handed_out_was_enqueued)
def handed_out_before_the_enqueue_was_answered(tale: Tale) -> History:
    tale.enqueue("a", (0, 9), "info", payload=b"one")
    tale.dequeue((2, 3), "a", payload=b"one")
    tale.end(ops.Done, "a", (4, 5))
    return tale.over()


# --- C10, C11 -------------------------------------------------------------------------------------------


@story(nothing_finished_is_handed_out, "Resurrected")
def done_and_handed_out(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 3), "a")
    tale.end(ops.Done, "a", (4, 5))
    tale.dequeue((6, 7), "a", token="later")
    return tale.over()


@story(nothing_finished_is_handed_out, "Resurrected")
def completed_and_handed_out(tale: Tale) -> History:
    tale.end(ops.Complete, "a", (4, 5))
    tale.dequeue((6, 7), "a", token="later")
    return tale.over()


@story(nothing_finished_is_handed_out)
def handed_out_while_the_end_was_under_way(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.end(ops.Done, "a", (4, 8))
    tale.dequeue((6, 7), "a", token="later")
    tale.end(ops.Done, "b", (4, 5), "info")
    tale.dequeue((6, 7), "b", token="later")
    return tale.over()


@story(nothing_finished_is_handed_out)
def made_anew_or_run_by_hand(tale: Tale) -> History:
    tale.end(ops.Done, "a", (4, 5))
    tale.enqueue("a", (5, 9), "info")
    tale.dequeue((6, 7), "a", token="later")
    tale.end(ops.Complete, "b", (4, 5))
    tale.call(ops.RunTask(queue="q", task_id="b"), (5, 6))
    tale.dequeue((8, 9), "b", token="later")
    return tale.over()


@story(refused_tasks_do_not_exist, "EffectOfError")
def refused_and_handed_out(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), "fail")
    tale.dequeue((2, 3), "a")
    return tale.over()


@story(refused_tasks_do_not_exist, "EffectOfError")
def refused_and_there(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), "fail")
    return tale.over(9, stored("a", TaskState.PENDING))


@story(refused_tasks_do_not_exist)
def refused_once_and_perhaps_made(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), "fail")
    tale.enqueue("a", (0, 1), "info")
    tale.enqueue("b", (0, 1), "fail")
    tale.dequeue((2, 3), "a")
    return tale.over()


# --- C8 -------------------------------------------------------------------------------------------------


@story(counters_count_what_happened, "Miscounted")
def one_run_counted_twice(tale: Tale) -> History:
    tale.end(ops.Done, "a", (0, 1))
    return tale.over(processed=2)


@story(counters_count_what_happened, "Miscounted", "Miscounted")
def a_loss_not_counted(tale: Tale) -> History:
    tale.end(ops.Done, "a", (0, 1))
    tale.recover("b", (0, 1))
    return tale.over(processed=1)


@story(counters_count_what_happened)
def counted_within_what_may_have_happened(tale: Tale) -> History:
    tale.end(ops.Done, "a", (0, 1))
    tale.end(ops.Done, "a", (2, 3))
    tale.end(ops.Archive, "b", (0, 1), "info")
    tale.end(ops.Retry, "c", (0, 1), delay=0, failure=False)
    tale.end(ops.Requeue, "d", (0, 1))
    tale.recover("e", (0, 1), done=False)
    tale.recover("f", (0, 1))
    return tale.over(processed=3, failed=2)


# --- C9 -------------------------------------------------------------------------------------------------


@story(nothing_is_early_or_forgotten, "Early")
def scheduled_and_handed_out_early(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), delay=1000)
    tale.dequeue((900, 990), "a")
    return tale.over()


@story(nothing_is_early_or_forgotten, "Early", "Early")
def retried_and_handed_out_early(tale: Tale) -> History:
    tale.end(ops.Retry, "a", (0, 1), delay=1000)
    tale.dequeue((900, 990), "a")
    tale.recover("b", (0, 1), to="retry", delay=500)
    tale.dequeue((400, 490), "b")
    return tale.over()


@story(nothing_is_early_or_forgotten, "Forgotten", "Forgotten", "Forgotten")
def left_behind(tale: Tale) -> History:
    tale.enqueue("z", (0, 1), delay=1000)
    held = [
        stored("a", TaskState.PENDING),
        stored("b", TaskState.SCHEDULED, 10_000),
        stored("c", TaskState.ACTIVE, 10_000),
        stored("d", TaskState.RETRY, 99_999),
        stored("e", TaskState.ARCHIVED, 10_000),
    ]
    return tale.over(100_000, *held, drained=False)


@story(nothing_is_early_or_forgotten)
def late_or_left_behind_by_a_drain_that_had_trouble(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), delay=1000)
    tale.dequeue((900, 1000), "a")
    tale.enqueue("b", (0, 1), delay=1000)
    tale.call(ops.RunTask(queue="q", task_id="b"), (5, 6))
    tale.dequeue((8, 9), "b")
    return tale.over(100_000, stored("c", TaskState.PENDING), drained=False, trouble="no connection")
