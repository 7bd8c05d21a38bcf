"""Scenarios for the rules about leases, locks and order."""

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
from tests.unit.history_builder import HistoryBuilder, delivery, scenario, stored

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


# --- C3 -------------------------------------------------------------------------------------------------


@scenario(a_lease_is_exclusive, "HeldTwice")
def delivered_to_two_workers(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="one")
    history.dequeue((2, 3), "a", token="two")
    return history.finish()


@scenario(a_lease_is_exclusive, "HeldTwice")
def delivered_again_despite_an_extension(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="one", lease=100)
    history.call(ops.ExtendLease(lease=delivery("a", "one").lease, duration=500), (50, 60), None)
    history.dequeue((200, 300), "a", token="two")
    return history.finish()


@scenario(a_lease_is_exclusive, "HandedTwice")
def delivered_twice_by_one_call(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", "a")
    return history.finish()


@scenario(a_lease_is_exclusive, "TakenFromTheLiving")
def recovered_from_a_live_worker(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", lease=100)
    history.recover("a", (50, 60))
    return history.finish()


@scenario(a_lease_is_exclusive)
def delivered_again_after_a_possible_end_of_the_lease(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="one", lease=100)
    history.recover("a", (99, 101))
    history.dequeue((90, 110), "a", token="two", lease=100)
    history.end(ops.Requeue, "a", (120, 125), "info", token="two")
    history.dequeue((121, 122), "a", token="three")
    history.dequeue((0, 10), "b", token="one")
    history.dequeue((5, 6), "b", token="two")
    return history.finish()


# --- C4 -------------------------------------------------------------------------------------------------


@scenario(stale_runs_are_refused, "StaleWrite")
def settled_by_a_stale_run(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="old")
    history.dequeue((2, 3), "a", token="new")
    history.end(ops.Done, "a", (4, 5), token="old")
    return history.finish()


@scenario(stale_runs_are_refused, "StaleWrite")
def extended_by_a_stale_run(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="old")
    history.dequeue((2, 3), "a", token="new")
    history.call(ops.ExtendLease(lease=delivery("a", "old").lease, duration=500), (4, 5), None)
    return history.finish()


@scenario(stale_runs_are_refused)
def refused_or_possibly_in_time(history: HistoryBuilder) -> History:
    history.dequeue((0, 1), "a", token="old")
    history.dequeue((2, 5), "a", token="new")
    history.end(ops.Done, "a", (4, 6), token="old")
    history.end(ops.Done, "a", (7, 8), "fail", token="old")
    history.end(ops.Done, "a", (7, 8), token="new")
    return history.finish()


# --- C5 -------------------------------------------------------------------------------------------------


@scenario(a_lock_has_one_owner, "LockedTwice")
def two_owners_of_one_lock(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), lock="k")
    history.enqueue("b", (2, 3), lock="k")
    return history.finish()


@scenario(a_lock_has_one_owner, "LockedTwice")
def two_concurrent_owners_of_one_lock(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3), lock="k")
    history.enqueue("b", (1, 2), lock="k")
    return history.finish()


@scenario(a_lock_has_one_owner, "MadeTwice")
def two_tasks_with_one_id(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3))
    history.enqueue("a", (1, 2))
    return history.finish()


@scenario(a_lock_has_one_owner, "RefusedByNobody", "RefusedByNobody", "RefusedByNobody")
def refused_without_an_owner(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), lock="k")
    history.end(ops.Done, "a", (2, 3))
    history.enqueue("b", (4, 5), "fail", lock="k")
    history.enqueue("c", (0, 1), lock="l", ttl=1000)
    history.enqueue("d", (1100, 1101), "fail", lock="l")
    history.enqueue("e", (0, 1))
    history.end(ops.Done, "e", (2, 3))
    history.enqueue("e", (4, 5), "fail")
    return history.finish()


@scenario(a_lock_has_one_owner)
def successive_owners(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), lock="k", ttl=1000)
    history.enqueue("b", (998, 1001), lock="k")
    history.end(ops.Done, "b", (1002, 1003), "info")
    history.enqueue("c", (1004, 1005), lock="k")
    history.enqueue("d", (0, 1), lock="l", until="start")
    history.dequeue((2, 5), "d")
    history.enqueue("e", (3, 4), lock="l")
    history.enqueue("f", (0, 1))
    history.end(ops.Done, "f", (2, 5))
    history.enqueue("f", (3, 4))
    return history.finish()


@scenario(a_lock_has_one_owner)
def refused_for_a_possible_owner(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), "info", lock="k")
    history.end(ops.Done, "a", (2, 3))
    history.enqueue("b", (4, 5), "fail", lock="k")
    history.enqueue("c", (0, 1), lock="l", until="expiry")
    history.end(ops.Done, "c", (2, 3))
    history.enqueue("d", (4, 5), "fail", lock="l")
    history.enqueue("e", (0, 1))
    history.end(ops.Done, "e", (2, 3))
    history.enqueue("e", (3, 9), "info")
    history.enqueue("e", (4, 5), "fail")
    return history.finish()


# --- C6 -------------------------------------------------------------------------------------------------

STRICT = (("high", "low"),)


@scenario(preferred_queues_come_first, "PassedOver")
def a_less_preferred_queue_is_served(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), queue="high")
    history.enqueue("b", (0, 1), queue="low")
    history.dequeue((2, 3), "low/b", orders=STRICT)
    history.dequeue((4, 5), "high/a", orders=STRICT)
    return history.finish()


@scenario(preferred_queues_come_first, "Unserved")
def no_task_is_delivered(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), queue="high")
    history.dequeue((2, 3), orders=(("low", "high"),))
    return history.finish()


@scenario(preferred_queues_come_first, "PassedOver")
def a_requeued_task_is_skipped(history: HistoryBuilder) -> History:
    history.end(ops.Requeue, "a", (0, 1))
    history.dequeue((2, 3), "low/b", orders=(("q", "low"),))
    return history.finish()


@scenario(preferred_queues_come_first, "ServedWhilePaused")
def a_paused_queue_is_served(history: HistoryBuilder) -> History:
    history.call(ops.PauseQueue(queue="low"), (0, 1), True)
    history.dequeue((2, 3), "low/a", orders=STRICT)
    history.call(ops.UnpauseQueue(queue="low"), (4, 5), True)
    return history.finish()


@scenario(preferred_queues_come_first)
def served_by_preference_or_possibly_so(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3), queue="high")
    history.dequeue((2, 5), "low/b", orders=STRICT)
    history.dequeue((4, 6), "high/a", orders=STRICT, token="other")
    history.enqueue("c", (10, 11), queue="high")
    history.dequeue((12, 13), "low/d", "low/e", orders=(("high", "low"), ("low", "high")))
    history.call(ops.PauseQueue(queue="high"), (14, 15), True)
    history.dequeue((16, 17), orders=STRICT)
    history.call(ops.UnpauseQueue(queue="high"), (18, 20), True)
    history.dequeue((17, 19), "high/c", orders=STRICT)
    return history.finish()


@scenario(preferred_queues_come_first)
def possibly_taken_by_a_call_without_an_answer(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3), outcome="info", token="lost")
    history.dequeue((4, 5))
    history.recover("a", (6, 7))
    history.dequeue((8, 9), "a")
    return history.finish()


# --- C7 -------------------------------------------------------------------------------------------------


@scenario(a_queue_is_first_in_first_out, "Overtaken")
def the_last_task_is_delivered_first(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.enqueue("b", (2, 3))
    history.dequeue((4, 5), "b")
    history.dequeue((6, 7), "a")
    return history.finish()


@scenario(a_queue_is_first_in_first_out, "Overtaken")
def the_first_task_is_never_delivered(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.enqueue("b", (2, 3))
    history.dequeue((4, 5), "b")
    return history.finish(9, stored("a", TaskState.PENDING))


@scenario(a_queue_is_first_in_first_out)
def concurrent_in_another_queue_or_requeued(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 3))
    history.enqueue("b", (2, 3))
    history.dequeue((4, 5), "b")
    history.dequeue((6, 7), "a")
    history.enqueue("c", (10, 11))
    history.enqueue("d", (12, 13))
    history.dequeue((14, 16), "d")
    history.dequeue((15, 17), "c")
    history.end(ops.Requeue, "d", (18, 19))
    history.enqueue("e", (10, 11), delay=1)
    return history.finish()


# --- C12 ------------------------------------------------------------------------------------------------


@scenario(small_queues_are_linearizable, "Inexplicable")
def an_empty_answer_from_a_queue_with_tasks(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 3))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def one_task_for_two_concurrent_calls(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 5), "a", token="one")
    history.dequeue((3, 4), "a", token="two")
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def impossible_counts(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1))
    history.dequeue((2, 5), "a")
    history.call(ops.GetQueueStats(queue="q"), (3, 4), QueueStats(queue="q", pending=1, active=1))
    return history.finish()


@scenario(small_queues_are_linearizable)
def explained_by_an_order_of_calls(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 9))
    history.enqueue("b", (0, 9))
    history.enqueue("a", (0, 9), "fail")
    history.dequeue((1, 8), "b", token="one")
    history.call(ops.GetQueueStats(queue="q"), (2, 3), QueueStats(queue="q", pending=2))
    history.end(ops.Requeue, "b", (10, 20), "info", token="one")
    history.dequeue((15, 16), "b", "a", orders=(("q",), ("q",)), token="two")
    history.end(ops.Archive, "a", (17, 18), token="two")
    history.end(ops.Done, "a", (19, 20), "fail", token="two")
    history.call(ops.Ping(), (1, 2), BrokerUnavailable("gone"), "fail")
    history.recover("b", (21, 22))
    history.dequeue((23, 24))
    return history.finish()
