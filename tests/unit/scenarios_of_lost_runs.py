"""Scenarios of deliveries and recoveries whose reason a failover discards after they have shown it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq_conformance.histories.checkers.counters import counters_count_what_happened
from asynq_conformance.histories.checkers.leases import a_lease_is_exclusive, stale_runs_are_refused
from asynq_conformance.histories.checkers.locks import a_lock_has_one_owner
from asynq_conformance.histories.checkers.order import preferred_queues_come_first
from asynq_conformance.histories.checkers.timing import nothing_is_early_or_forgotten
from tests.unit.history_builder import HistoryBuilder, delivery, scenario

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History
    from tests.unit.history_builder import Outcome, Times


def delivered_twice(history: HistoryBuilder) -> History:
    """An enqueue of unknown outcome is delivered, and so is a later one of the same id."""
    history.enqueue("a", (110, 120), "info")
    history.dequeue((130, 140), "a", token="one")
    history.enqueue("a", (2000, 2001))
    history.dequeue((2010, 2011), "a", token="two")
    return history.finish()


@scenario(a_lease_is_exclusive)
def delivered_again_after_the_enqueue_was_lost(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    return delivered_twice(history)


@scenario(a_lease_is_exclusive, "HeldTwice")
def delivered_again_without_a_window(history: HistoryBuilder) -> History:
    return delivered_twice(history)


@scenario(a_lease_is_exclusive, "HeldTwice")
def delivered_again_after_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 125)
    return delivered_twice(history)


@scenario(a_lease_is_exclusive)
def delivered_again_after_the_lease_was_lost(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue((130, 140), "a", token="one")
    history.dequeue((2010, 2011), "a", token="two")
    return history.finish()


@scenario(a_lease_is_exclusive, "HeldTwice")
def delivered_again_after_a_lease_from_before_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue((50, 60), "a", token="one")
    history.dequeue((2010, 2011), "a", token="two")
    return history.finish()


def locked_after_a_start(history: HistoryBuilder, start: Times) -> History:
    """A task whose start releases its lock is delivered, and the lock is then found taken."""
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1), lock="l", until="start")
    history.dequeue(start, "a", token="one")
    history.enqueue("b", (2000, 2001), "fail", lock="l")
    return history.finish()


@scenario(a_lock_has_one_owner)
def locked_after_a_start_that_was_lost(history: HistoryBuilder) -> History:
    return locked_after_a_start(history, (130, 140))


@scenario(a_lock_has_one_owner, "RefusedByNobody")
def locked_after_a_start_that_lasted(history: HistoryBuilder) -> History:
    return locked_after_a_start(history, (50, 60))


def extended_after_a_later_run(history: HistoryBuilder, later: Times) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue((10, 20), "a", token="one")
    history.end(ops.Requeue, "a", (30, 40), token="one")
    history.dequeue(later, "a", token="two")
    history.call(ops.ExtendLease(lease=delivery("a", "one").lease, duration=9), (2000, 2001))
    return history.finish()


@scenario(stale_runs_are_refused)
def extended_after_a_later_run_that_was_lost(history: HistoryBuilder) -> History:
    return extended_after_a_later_run(history, (130, 140))


@scenario(stale_runs_are_refused, "StaleWrite")
def extended_after_a_later_run_before_the_window(history: HistoryBuilder) -> History:
    return extended_after_a_later_run(history, (50, 60))


def passed_over(history: HistoryBuilder) -> History:
    """A call gets nothing while another one, whose outcome is unknown, may have taken the task."""
    history.enqueue("a", (0, 1))
    history.dequeue((110, 120), token="one", outcome="info")
    history.dequeue((130, 140), token="two")
    history.dequeue((2010, 2011), "a", token="three")
    history.dequeue((2020, 2021), token="four")
    return history.finish()


@scenario(preferred_queues_come_first)
def passed_over_after_a_take_that_was_lost(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    return passed_over(history)


@scenario(preferred_queues_come_first, "Unserved")
def passed_over_after_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 125)
    return passed_over(history)


@scenario(preferred_queues_come_first, "Unserved")
def passed_over_although_nothing_was_taken(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue((130, 140), token="two")
    history.dequeue((2010, 2011), "a", token="three")
    history.dequeue((2020, 2021), token="four")
    return history.finish()


def recovered(
    history: HistoryBuilder, recovery: Times, take: Times = (110, 120), outcome: Outcome = "info"
) -> History:
    """A task is recovered from a run, and is then delivered at once."""
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue(take, *(["a"] if outcome == "ok" else []), token="one", lease=200, outcome=outcome)
    history.recover("a", recovery, to="retry", delay=5000)
    history.dequeue((2000, 2010), "a", token="two")
    history.end(ops.Done, "a", (2020, 2021), token="two")
    history.enqueue("b", (0, 1), delay=10)
    return history.finish(processed=1)


@scenario(nothing_is_early_or_forgotten)
@scenario(counters_count_what_happened)
def recovered_from_a_run_that_was_lost(history: HistoryBuilder) -> History:
    return recovered(history, (500, 510))


@scenario(nothing_is_early_or_forgotten, "Early")
@scenario(counters_count_what_happened, "Miscounted", "Miscounted")
def recovered_after_the_window(history: HistoryBuilder) -> History:
    return recovered(history, (1100, 1110))


@scenario(nothing_is_early_or_forgotten, "Early")
@scenario(counters_count_what_happened, "Miscounted", "Miscounted")
def recovered_from_a_run_before_the_window(history: HistoryBuilder) -> History:
    return recovered(history, (500, 510), take=(50, 60), outcome="ok")


@scenario(nothing_is_early_or_forgotten)
@scenario(counters_count_what_happened)
def recovered_from_a_run_whose_lease_was_lost(history: HistoryBuilder) -> History:
    return recovered(history, (500, 510), outcome="ok")


@scenario(nothing_is_early_or_forgotten)
@scenario(counters_count_what_happened)
def recovered_from_a_run_of_a_lost_task(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (110, 111), "info")
    history.dequeue((120, 130), "a", token="one", lease=200)
    history.recover("a", (500, 510), to="retry", delay=5000)
    history.enqueue("a", (1500, 1501))
    history.dequeue((2000, 2010), "a", token="two")
    history.end(ops.Done, "a", (2020, 2021), token="two")
    history.enqueue("b", (0, 1), delay=10)
    return history.finish(processed=1)


def returned_to_the_queue(history: HistoryBuilder, recovery: Times) -> History:
    """A task that waits is moved, taken and recovered; nobody knows whether it was moved and taken."""
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1), delay=50)
    history.call(ops.Forward(queue="q"), (110, 111), "?", "info")
    history.dequeue((120, 130), token="one", lease=200, outcome="info")
    history.recover("a", recovery)
    history.dequeue((2000, 2001), token="two")
    history.dequeue((2100, 2101), "a", token="three")
    return history.finish()


@scenario(preferred_queues_come_first)
def returned_after_moves_that_were_lost(history: HistoryBuilder) -> History:
    return returned_to_the_queue(history, (500, 510))


@scenario(preferred_queues_come_first, "Unserved")
def returned_after_the_window(history: HistoryBuilder) -> History:
    return returned_to_the_queue(history, (1100, 1110))


@scenario(preferred_queues_come_first, "Unserved")
def passed_over_while_another_queue_was_served(history: HistoryBuilder) -> History:
    history.may_undo(100, 1000)
    history.enqueue("a", (0, 1))
    history.dequeue((110, 120), token="one", orders=(("other",),), outcome="info")
    history.dequeue((130, 140), token="two")
    history.dequeue((2010, 2011), "a", token="three")
    return history.finish()
