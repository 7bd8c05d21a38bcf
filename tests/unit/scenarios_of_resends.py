"""Scenarios of enqueues that are sent again after a timeout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq_conformance.histories.checkers.existence import nothing_finished_is_handed_out
from asynq_conformance.histories.checkers.linear import small_queues_are_linearizable
from asynq_conformance.histories.checkers.locks import a_lock_has_one_owner
from tests.unit.history_builder import HistoryBuilder, scenario

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


def run_by_another(history: HistoryBuilder, begin: int) -> None:
    """Task "a" runs to its end and is deleted."""
    history.dequeue((begin, begin + 1), "a", token=f"k{begin}")
    history.end(ops.Done, "a", (begin + 2, begin + 3), token=f"k{begin}")


@scenario(a_lock_has_one_owner)
@scenario(small_queues_are_linearizable)
@scenario(nothing_finished_is_handed_out)
def created_again_by_the_second_copy(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(history, 10)
    history.enqueue("a", (3100, 3101), "fail")
    return history.finish()


@scenario(a_lock_has_one_owner)
def locked_again_by_the_second_copy(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    run_by_another(history, 10)
    history.enqueue("b", (3100, 3101), "fail", lock="l")
    return history.finish()


@scenario(a_lock_has_one_owner)
@scenario(small_queues_are_linearizable)
def created_again_by_a_copy_after_the_answer(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(history, 3010)
    history.enqueue("a", (3100, 3101), "fail")
    return history.finish()


@scenario(a_lock_has_one_owner)
@scenario(small_queues_are_linearizable)
def refused_because_of_operations_after_the_first_copy(history: HistoryBuilder) -> History:
    call = history.enqueue("a", (0, 3000), "info", resent_until=6000)
    run_by_another(history, 10)
    history.enqueue("a", (100, 101))
    assert not call.ok
    return history.finish()


@scenario(a_lock_has_one_owner, "RefusedByNobody")
@scenario(small_queues_are_linearizable, "Inexplicable")
def refused_after_every_possible_copy_had_ended(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(history, 10)
    run_by_another(history, 6010)
    history.enqueue("a", (6100, 6101), "fail")
    return history.finish()


@scenario(a_lock_has_one_owner, "RefusedByNobody")
@scenario(small_queues_are_linearizable, "Inexplicable")
def refused_although_the_task_existed_for_every_copy(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(history, 6010)
    history.enqueue("a", (6100, 6101), "fail")
    return history.finish()


@scenario(a_lock_has_one_owner, "RefusedByNobody")
def lock_refused_although_the_task_existed_for_every_copy(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    run_by_another(history, 6010)
    history.enqueue("b", (6100, 6101), "fail", lock="l")
    return history.finish()


@scenario(a_lock_has_one_owner, "LockedTwice")
def lock_given_to_another_task_while_held(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    history.enqueue("b", (3100, 3101), lock="l")
    return history.finish()


@scenario(a_lock_has_one_owner, "MadeTwice")
@scenario(small_queues_are_linearizable, "Inexplicable")
def id_given_to_another_task_while_in_use(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    history.enqueue("a", (3100, 3101))
    return history.finish()


@scenario(nothing_finished_is_handed_out, "Resurrected")
def delivered_after_an_end_that_no_copy_can_follow(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(history, 6010)
    history.dequeue((6100, 6101), "a", token="later")
    return history.finish()
