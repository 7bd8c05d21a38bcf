"""Scenarios for the rule about sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq.protocol.sequences import WAITING
from asynq.task_state import TaskState
from asynq_conformance.histories.checkers.sequences import sequences_run_in_turn
from tests.unit.history_builder import HistoryBuilder, scenario, stored

if TYPE_CHECKING:
    from asynq_conformance.histories.history import History


@scenario(sequences_run_in_turn, "RunBeside")
def two_tasks_of_a_sequence_at_once(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 2), sequence="s")
    history.enqueue("b", (1, 3), sequence="s")
    history.dequeue((4, 5), "b", token="one")
    history.dequeue((6, 7), "a", token="two")
    history.end(ops.Done, "b", (8, 9), token="one")
    return history.finish()


@scenario(sequences_run_in_turn, "RunBeside", "OutOfTurn")
def another_task_while_the_first_one_waits_for_its_retry(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), sequence="s")
    history.enqueue("b", (2, 3), sequence="s")
    history.dequeue((4, 5), "a", token="one")
    history.end(ops.Retry, "a", (6, 7), token="one", delay=100)
    history.dequeue((8, 9), "b", token="two")
    return history.finish()


@scenario(sequences_run_in_turn, "OutOfTurn")
def the_second_task_of_a_sequence_first(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), sequence="s")
    history.enqueue("b", (2, 3), sequence="s")
    history.dequeue((4, 5), "b")
    history.end(ops.Done, "b", (6, 7))
    history.dequeue((8, 9), "a")
    return history.finish()


@scenario(sequences_run_in_turn, "WaitsForNobody")
def waiting_behind_nobody(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), sequence="s")
    history.dequeue((2, 3), "a")
    held = [
        stored("a", TaskState.COMPLETED, sequence="s"),
        stored("b", TaskState.SCHEDULED, WAITING, sequence="s"),
        stored("c", TaskState.SCHEDULED, WAITING, sequence="s"),
        stored("d", TaskState.SCHEDULED, WAITING, sequence="r"),
        stored("e", TaskState.RETRY, 1, sequence="r"),
    ]
    return history.finish(1_000_000, *held, drained=False)


@scenario(sequences_run_in_turn)
def in_turn_or_possibly_so(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 1), sequence="s")
    history.enqueue("b", (2, 3), sequence="s")
    history.enqueue("c", (0, 1), sequence="r")
    history.enqueue("d", (0, 1))
    history.dequeue((4, 5), "a", token="one")
    history.end(ops.Done, "a", (6, 9), token="one")
    history.dequeue((7, 8), "b", "c", "d", token="two")
    history.enqueue("e", (10, 13), sequence="s")
    history.enqueue("f", (11, 12), sequence="s")
    history.end(ops.Archive, "b", (14, 15), "info", token="two")
    history.dequeue((16, 17), "f", token="three")
    history.end(ops.Done, "f", (18, 19), token="three")
    history.dequeue((20, 21), "e", token="four")
    return history.finish()


@scenario(sequences_run_in_turn)
def ended_by_hand_or_with_its_worker(history: HistoryBuilder) -> History:
    for name in ("r", "s"):
        history.enqueue(f"a{name}", (0, 1), sequence=name)
        history.enqueue(f"b{name}", (2, 3), sequence=name)
    history.dequeue((4, 5), "as", token="one")
    history.recover("as", (6, 7), to="archived")
    history.call(ops.DeleteTask(queue="q", task_id="ar"), (6, 7))
    history.dequeue((8, 9), "br", "bs", token="two")
    return history.finish()


@scenario(sequences_run_in_turn)
def enqueued_once_more_by_a_copy(history: HistoryBuilder) -> History:
    history.enqueue("a", (0, 20), sequence="s", resent_until=20)
    history.dequeue((1, 2), "a", token="one")
    history.end(ops.Done, "a", (3, 4), token="one")
    history.enqueue("b", (5, 6), sequence="s")
    history.dequeue((7, 8), "b", token="two")
    return history.finish()


@scenario(sequences_run_in_turn)
def known_by_a_lease_that_is_lost(history: HistoryBuilder) -> History:
    history.may_undo(1, 20)
    history.enqueue("a", (2, 3), "info", sequence="s")
    history.enqueue("b", (4, 5), sequence="s")
    history.dequeue((6, 7), "a", token="one")
    history.dequeue((30, 31), "b", token="two")
    return history.finish()
