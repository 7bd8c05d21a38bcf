"""Stories of enqueues that were sent again after a timeout; see `tests.unit.tales`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq_conformance.histories.checkers.existence import nothing_finished_is_handed_out
from asynq_conformance.histories.checkers.linear import small_queues_are_linearizable
from asynq_conformance.histories.checkers.locks import a_lock_has_one_owner
from tests.unit.tales import Tale, story

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


def run_by_another(tale: Tale, begin: int) -> None:
    """A task "a" runs to its end and leaves nothing behind."""
    tale.dequeue((begin, begin + 1), "a", token=f"k{begin}")
    tale.end(ops.Done, "a", (begin + 2, begin + 3), token=f"k{begin}")


@story(a_lock_has_one_owner)
@story(small_queues_are_linearizable)
@story(nothing_finished_is_handed_out)
def made_again_by_the_second_copy(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(tale, 10)
    tale.enqueue("a", (3100, 3101), "fail")
    return tale.over()


@story(a_lock_has_one_owner)
def locked_again_by_the_second_copy(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    run_by_another(tale, 10)
    tale.enqueue("b", (3100, 3101), "fail", lock="l")
    return tale.over()


@story(a_lock_has_one_owner)
@story(small_queues_are_linearizable)
def made_again_by_a_copy_that_came_after_the_answer(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(tale, 3010)
    tale.enqueue("a", (3100, 3101), "fail")
    return tale.over()


@story(a_lock_has_one_owner)
@story(small_queues_are_linearizable)
def refused_because_of_what_followed_the_first_copy(tale: Tale) -> History:
    call = tale.enqueue("a", (0, 3000), "info", resent_until=6000)
    run_by_another(tale, 10)
    tale.enqueue("a", (100, 101))
    assert not call.ok
    return tale.over()


@story(a_lock_has_one_owner, "RefusedByNobody")
@story(small_queues_are_linearizable, "Inexplicable")
def refused_after_everything_a_copy_can_have_made_was_gone(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(tale, 10)
    run_by_another(tale, 6010)
    tale.enqueue("a", (6100, 6101), "fail")
    return tale.over()


@story(a_lock_has_one_owner, "RefusedByNobody")
@story(small_queues_are_linearizable, "Inexplicable")
def refused_although_no_copy_found_the_task_gone(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(tale, 6010)
    tale.enqueue("a", (6100, 6101), "fail")
    return tale.over()


@story(a_lock_has_one_owner, "RefusedByNobody")
def lock_refused_although_no_copy_found_the_task_gone(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    run_by_another(tale, 6010)
    tale.enqueue("b", (6100, 6101), "fail", lock="l")
    return tale.over()


@story(a_lock_has_one_owner, "LockedTwice")
def lock_given_to_another_while_the_first_held_it(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000, lock="l")
    tale.enqueue("b", (3100, 3101), lock="l")
    return tale.over()


@story(a_lock_has_one_owner, "MadeTwice")
@story(small_queues_are_linearizable, "Inexplicable")
def id_given_to_another_while_the_first_had_it(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    tale.enqueue("a", (3100, 3101))
    return tale.over()


@story(nothing_finished_is_handed_out, "Resurrected")
def handed_out_after_the_end_that_no_copy_can_have_followed(tale: Tale) -> History:
    tale.enqueue("a", (0, 3000), resent_until=6000)
    run_by_another(tale, 6010)
    tale.dequeue((6100, 6101), "a", token="later")
    return tale.over()
