"""Scenarios of writes without acknowledgement that a failover discards after a read has shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.protocol.message import QueueStats
from asynq_conformance.histories.checkers.linear import small_queues_are_linearizable
from tests.unit.history_builder import HistoryBuilder, scenario

if TYPE_CHECKING:
    from asynq_conformance.histories.history import Call, History
    from tests.unit.history_builder import Times


def count(history: HistoryBuilder, times: Times, pending: int = 0, active: int = 0) -> Call:
    answer = QueueStats(queue="q", pending=pending, active=active)
    return history.call(ops.GetQueueStats(queue="q"), times, answer)


def seen_then_gone(history: HistoryBuilder) -> History:
    """A slow read shows an enqueue of unknown outcome; then the queue is empty."""
    history.enqueue("a", (110, 2400), "info")
    count(history, (120, 2420), pending=1)
    history.dequeue((2500, 2501))
    return history.finish()


@scenario(small_queues_are_linearizable)
def lost_after_a_read_in_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    return seen_then_gone(history)


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_after_a_read_without_a_window(history: HistoryBuilder) -> History:
    return seen_then_gone(history)


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_after_a_read_before_the_window(history: HistoryBuilder) -> History:
    history.may_undo(2430, 3000)
    return seen_then_gone(history)


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_after_a_read_after_the_window(history: HistoryBuilder) -> History:
    history.may_undo(0, 115)
    return seen_then_gone(history)


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_although_acknowledged(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 120))
    count(history, (130, 2420), pending=1)
    history.dequeue((2500, 2501))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_without_an_attempt_to_write(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2400), "info")
    count(history, (120, 2420), pending=2)
    history.dequeue((2500, 2501))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_although_the_surviving_server_showed_it(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2400), "info")
    count(history, (3100, 3101), pending=1)
    history.dequeue((3200, 3201))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def shown_without_what_was_acknowledged_before_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (0, 2400), "info")
    history.enqueue("b", (10, 20))
    history.enqueue("c", (30, 40))
    count(history, (120, 2420), pending=1)
    return history.finish()


@scenario(small_queues_are_linearizable)
def lost_first_copy_of_an_acknowledged_enqueue(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2600), resent_until=2600)
    count(history, (120, 2420), pending=1)
    history.dequeue((2450, 2460))
    history.dequeue((2700, 2701), "a")
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_copies_of_an_acknowledged_enqueue(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2600), resent_until=2600)
    count(history, (120, 2420), pending=1)
    history.dequeue((2700, 2701))
    return history.finish()


@scenario(small_queues_are_linearizable)
def lost_settlement(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (0, 10))
    history.dequeue((20, 30), "a")
    history.end(ops.Done, "a", (110, 2400), "info")
    count(history, (120, 2420), active=0)
    count(history, (2500, 2501), active=1)
    return history.finish()


@scenario(small_queues_are_linearizable)
def delivered_then_lost(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2400), "info")
    history.dequeue((120, 2420), "a")
    history.end(ops.Done, "a", (2430, 2440), "fail")
    count(history, (2500, 2501))
    return history.finish()


def delivered_twice(history: HistoryBuilder, first: Times) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (0, 10))
    history.dequeue(first, "a", token="one")
    history.dequeue((2500, 2501), "a", token="two")
    return history.finish()


@scenario(small_queues_are_linearizable)
def lost_lease_of_a_task_that_survives(history: HistoryBuilder) -> History:
    return delivered_twice(history, (120, 2420))


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_lease_from_before_the_window(history: HistoryBuilder) -> History:
    return delivered_twice(history, (20, 30))


@scenario(small_queues_are_linearizable, "Inexplicable")
def lost_together_with_an_enqueue_after_the_window(history: HistoryBuilder) -> History:
    history.may_undo(100, 200)
    history.enqueue("a", (110, 900), "info")
    count(history, (120, 900), pending=2)
    history.enqueue("b", (300, 310))
    history.dequeue((910, 911), "b", token="one")
    history.dequeue((920, 921), token="two")
    return history.finish()


@scenario(small_queues_are_linearizable)
def lost_writes_that_one_read_shows_together(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2400), "info")
    history.enqueue("b", (110, 2400), "info")
    count(history, (120, 2420), pending=2)
    history.dequeue((2500, 2501))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def seen_and_missed_before_its_only_copy_was_acknowledged(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (110, 2600))
    count(history, (120, 2420), pending=1)
    history.dequeue((2450, 2460))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def refused_because_of_a_settlement_that_is_lost(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (0, 10))
    history.dequeue((20, 30), "a")
    history.end(ops.Done, "a", (110, 2400), "info")
    history.end(ops.Done, "a", (2410, 2420), "fail")
    count(history, (2500, 2501), active=1)
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def seen_before_the_attempt_to_write(history: HistoryBuilder) -> History:
    history.may_undo(0, 115)
    count(history, (110, 900), pending=1)
    history.enqueue("a", (130, 2400), "info")
    history.dequeue((2500, 2501))
    return history.finish()


@scenario(small_queues_are_linearizable, "Inexplicable")
def seen_after_the_last_copy(history: HistoryBuilder) -> History:
    history.may_undo(100, 3000)
    history.enqueue("a", (0, 5), resent_until=50)
    history.dequeue((10, 11), "a", token="one")
    history.end(ops.Done, "a", (12, 13), token="one")
    count(history, (120, 130), pending=1)
    history.dequeue((140, 141), token="two")
    return history.finish()
