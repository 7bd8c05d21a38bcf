"""Stories of who held what, and of who came first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import BrokerUnavailable
from asynq.protocol import ops
from asynq.protocol.message import QueueStats
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.leases import a_lease_is_exclusive, stale_runs_are_refused
from asynq_conformance.histories.checkers.linear import small_queues_are_linearizable
from asynq_conformance.histories.checkers.locks import a_lock_has_one_owner
from asynq_conformance.histories.checkers.order import (
    a_queue_is_first_in_first_out,
    preferred_queues_come_first,
)
from tests.unit.tales import Tale, delivery, stored, story

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


# --- C3 -------------------------------------------------------------------------------------------------


@story(a_lease_is_exclusive, "HeldTwice")
def handed_out_to_two(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="one")
    tale.dequeue((2, 3), "a", token="two")
    return tale.over()


@story(a_lease_is_exclusive, "HeldTwice")
def handed_out_again_although_extended(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="one", lease=100)
    tale.call(ops.ExtendLease(lease=delivery("a", "one").lease, duration=500), (50, 60), None)
    tale.dequeue((200, 300), "a", token="two")
    return tale.over()


@story(a_lease_is_exclusive, "HandedTwice")
def handed_out_twice_by_one_call(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", "a")
    return tale.over()


@story(a_lease_is_exclusive, "TakenFromTheLiving")
def recovered_from_the_living(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", lease=100)
    tale.recover("a", (50, 60))
    return tale.over()


@story(a_lease_is_exclusive)
def handed_out_again_when_lapsed_given_back_or_perhaps(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="one", lease=100)
    tale.recover("a", (99, 101))
    tale.dequeue((90, 110), "a", token="two", lease=100)
    tale.end(ops.Requeue, "a", (120, 125), "info", token="two")
    tale.dequeue((121, 122), "a", token="three")
    tale.dequeue((0, 10), "b", token="one")
    tale.dequeue((5, 6), "b", token="two")
    return tale.over()


# --- C4 -------------------------------------------------------------------------------------------------


@story(stale_runs_are_refused, "StaleWrite")
def done_by_a_stale_run(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="old")
    tale.dequeue((2, 3), "a", token="new")
    tale.end(ops.Done, "a", (4, 5), token="old")
    return tale.over()


@story(stale_runs_are_refused, "StaleWrite")
def extended_by_a_stale_run(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="old")
    tale.dequeue((2, 3), "a", token="new")
    tale.call(ops.ExtendLease(lease=delivery("a", "old").lease, duration=500), (4, 5), None)
    return tale.over()


@story(stale_runs_are_refused)
def refused_or_perhaps_in_time(tale: Tale) -> History:
    tale.dequeue((0, 1), "a", token="old")
    tale.dequeue((2, 5), "a", token="new")
    tale.end(ops.Done, "a", (4, 6), token="old")
    tale.end(ops.Done, "a", (7, 8), "fail", token="old")
    tale.end(ops.Done, "a", (7, 8), token="new")
    return tale.over()


# --- C5 -------------------------------------------------------------------------------------------------


@story(a_lock_has_one_owner, "LockedTwice")
def two_owners_of_one_lock(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), lock="k")
    tale.enqueue("b", (2, 3), lock="k")
    return tale.over()


@story(a_lock_has_one_owner, "LockedTwice")
def two_owners_of_one_lock_at_once(tale: Tale) -> History:
    tale.enqueue("a", (0, 3), lock="k")
    tale.enqueue("b", (1, 2), lock="k")
    return tale.over()


@story(a_lock_has_one_owner, "MadeTwice")
def two_tasks_of_one_id(tale: Tale) -> History:
    tale.enqueue("a", (0, 3))
    tale.enqueue("a", (1, 2))
    return tale.over()


@story(a_lock_has_one_owner, "RefusedByNobody", "RefusedByNobody", "RefusedByNobody")
def refused_for_the_sake_of_nobody(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), lock="k")
    tale.end(ops.Done, "a", (2, 3))
    tale.enqueue("b", (4, 5), "fail", lock="k")
    tale.enqueue("c", (0, 1), lock="l", ttl=1000)
    tale.enqueue("d", (1100, 1101), "fail", lock="l")
    tale.enqueue("e", (0, 1))
    tale.end(ops.Done, "e", (2, 3))
    tale.enqueue("e", (4, 5), "fail")
    return tale.over()


@story(a_lock_has_one_owner)
def owners_one_after_the_other(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), lock="k", ttl=1000)
    tale.enqueue("b", (998, 1001), lock="k")
    tale.end(ops.Done, "b", (1002, 1003), "info")
    tale.enqueue("c", (1004, 1005), lock="k")
    tale.enqueue("d", (0, 1), lock="l", until="start")
    tale.dequeue((2, 5), "d")
    tale.enqueue("e", (3, 4), lock="l")
    tale.enqueue("f", (0, 1))
    tale.end(ops.Done, "f", (2, 5))
    tale.enqueue("f", (3, 4))
    return tale.over()


@story(a_lock_has_one_owner)
def refused_for_somebody_who_may_be_there(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), "info", lock="k")
    tale.end(ops.Done, "a", (2, 3))
    tale.enqueue("b", (4, 5), "fail", lock="k")
    tale.enqueue("c", (0, 1), lock="l", until="expiry")
    tale.end(ops.Done, "c", (2, 3))
    tale.enqueue("d", (4, 5), "fail", lock="l")
    tale.enqueue("e", (0, 1))
    tale.end(ops.Done, "e", (2, 3))
    tale.enqueue("e", (3, 9), "info")
    tale.enqueue("e", (4, 5), "fail")
    return tale.over()


# --- C6 -------------------------------------------------------------------------------------------------

STRICT = (("high", "low"),)


@story(preferred_queues_come_first, "PassedOver")
def a_less_wanted_queue_is_served(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), queue="high")
    tale.enqueue("b", (0, 1), queue="low")
    tale.dequeue((2, 3), "low/b", orders=STRICT)
    tale.dequeue((4, 5), "high/a", orders=STRICT)
    return tale.over()


@story(preferred_queues_come_first, "Unserved")
def nothing_is_served(tale: Tale) -> History:
    tale.enqueue("a", (0, 1), queue="high")
    tale.dequeue((2, 3), orders=(("low", "high"),))
    return tale.over()


@story(preferred_queues_come_first, "PassedOver")
def a_requeued_task_is_passed_over(tale: Tale) -> History:
    tale.end(ops.Requeue, "a", (0, 1))
    tale.dequeue((2, 3), "low/b", orders=(("q", "low"),))
    return tale.over()


@story(preferred_queues_come_first, "ServedWhilePaused")
def a_paused_queue_is_served(tale: Tale) -> History:
    tale.call(ops.PauseQueue(queue="low"), (0, 1), True)
    tale.dequeue((2, 3), "low/a", orders=STRICT)
    tale.call(ops.UnpauseQueue(queue="low"), (4, 5), True)
    return tale.over()


@story(preferred_queues_come_first)
def served_as_wanted_or_perhaps(tale: Tale) -> History:
    tale.enqueue("a", (0, 3), queue="high")
    tale.dequeue((2, 5), "low/b", orders=STRICT)
    tale.dequeue((4, 6), "high/a", orders=STRICT, token="other")
    tale.enqueue("c", (10, 11), queue="high")
    tale.dequeue((12, 13), "low/d", "low/e", orders=(("high", "low"), ("low", "high")))
    tale.call(ops.PauseQueue(queue="high"), (14, 15), True)
    tale.dequeue((16, 17), orders=STRICT)
    tale.call(ops.UnpauseQueue(queue="high"), (18, 20), True)
    tale.dequeue((17, 19), "high/c", orders=STRICT)
    return tale.over()


@story(preferred_queues_come_first)
def perhaps_taken_by_a_call_without_an_answer(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 3), outcome="info", token="lost")
    tale.dequeue((4, 5))
    tale.recover("a", (6, 7))
    tale.dequeue((8, 9), "a")
    return tale.over()


# --- C7 -------------------------------------------------------------------------------------------------


@story(a_queue_is_first_in_first_out, "Overtaken")
def the_last_comes_first(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.enqueue("b", (2, 3))
    tale.dequeue((4, 5), "b")
    tale.dequeue((6, 7), "a")
    return tale.over()


@story(a_queue_is_first_in_first_out, "Overtaken")
def the_first_never_comes(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.enqueue("b", (2, 3))
    tale.dequeue((4, 5), "b")
    return tale.over(9, stored("a", TaskState.PENDING))


@story(a_queue_is_first_in_first_out)
def at_once_in_another_queue_or_put_back(tale: Tale) -> History:
    tale.enqueue("a", (0, 3))
    tale.enqueue("b", (2, 3))
    tale.dequeue((4, 5), "b")
    tale.dequeue((6, 7), "a")
    tale.enqueue("c", (10, 11))
    tale.enqueue("d", (12, 13))
    tale.dequeue((14, 16), "d")
    tale.dequeue((15, 17), "c")
    tale.end(ops.Requeue, "d", (18, 19))
    tale.enqueue("e", (10, 11), delay=1)
    return tale.over()


# --- C12 ------------------------------------------------------------------------------------------------


@story(small_queues_are_linearizable, "Inexplicable")
def an_empty_answer_of_a_queue_that_is_not(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 3))
    return tale.over()


@story(small_queues_are_linearizable, "Inexplicable")
def one_task_for_two_at_once(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 5), "a", token="one")
    tale.dequeue((3, 4), "a", token="two")
    return tale.over()


@story(small_queues_are_linearizable, "Inexplicable")
def numbers_that_never_were(tale: Tale) -> History:
    tale.enqueue("a", (0, 1))
    tale.dequeue((2, 5), "a")
    tale.call(ops.GetQueueStats(queue="q"), (3, 4), QueueStats(queue="q", pending=1, active=1))
    return tale.over()


@story(small_queues_are_linearizable)
def explained_by_some_order(tale: Tale) -> History:
    tale.enqueue("a", (0, 9))
    tale.enqueue("b", (0, 9))
    tale.enqueue("a", (0, 9), "fail")
    tale.dequeue((1, 8), "b", token="one")
    tale.call(ops.GetQueueStats(queue="q"), (2, 3), QueueStats(queue="q", pending=2))
    tale.end(ops.Requeue, "b", (10, 20), "info", token="one")
    tale.dequeue((15, 16), "b", "a", orders=(("q",), ("q",)), token="two")
    tale.end(ops.Archive, "a", (17, 18), token="two")
    tale.end(ops.Done, "a", (19, 20), "fail", token="two")
    tale.call(ops.Ping(), (1, 2), BrokerUnavailable("gone"), "fail")
    tale.recover("b", (21, 22))
    tale.dequeue((23, 24))
    return tale.over()
