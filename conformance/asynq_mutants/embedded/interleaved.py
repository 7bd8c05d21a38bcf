"""Brokers whose operations consist of two transactions, so that other callers can intervene."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from asynq_mutants.defects import caught_by
from asynq_sqlite.store.task_store import HeldLock, TaskStore

if TYPE_CHECKING:
    from asynq_sqlite.store.rows import FullRow

ALONE = "a program does one thing at a time"
WITHIN = 0.5
"""Seconds for which the first caller waits for a second one."""


class _InTwo(TaskStore):
    """A store that lets another caller in between reading and writing."""

    meeting = threading.Barrier(2)

    def let_others_in(self) -> None:
        """End the transaction, wait until another caller has reached this point, and begin a new one."""
        self.connection.execute("COMMIT")
        try:
            self.meeting.wait(WITHIN)
        except threading.BrokenBarrierError:
            self.meeting.reset()
        self.connection.execute("PRAGMA busy_timeout = 5000")
        self.connection.execute("BEGIN IMMEDIATE")


@caught_by("test_concurrent_dequeues_take_each_task_once", bug=16, on_file=True, beyond_programs=ALONE)
class TakesInTwoSteps(_InTwo):
    def pop_pending(self, queue: str, limit: int) -> list[FullRow]:
        found = super().pop_pending(queue, limit)
        if found and not self.fetch("SELECT 1 FROM tasks WHERE state = 'active' LIMIT 1"):
            self.let_others_in()
        return found


@caught_by(
    "test_one_of_several_concurrent_unique_enqueues_succeeds", bug=28, on_file=True, beyond_programs=ALONE
)
class LocksInTwoSteps(_InTwo):
    def lock_holder(self, name: str, now: int) -> HeldLock | None:
        held = super().lock_holder(name, now)
        if held is None:
            self.let_others_in()
        return held


@caught_by(
    "test_one_of_several_concurrent_enqueues_into_a_sequence_is_its_head", on_file=True, beyond_programs=ALONE
)
@caught_by(
    "test_tasks_that_join_a_sequence_while_its_head_ends_run_in_turn", on_file=True, beyond_programs=ALONE
)
class DecidesInTwoSteps(_InTwo):
    """Whose turn it is in a sequence of at most one task is decided before another one joins or leaves."""

    _decided = False
    _first: str | None = None

    def join_sequence(self, queue: str, name: str, task_id: str) -> None:
        first = super().first_of_sequence(queue, name)
        self._decide(queue, task_id if first is None else None)
        super().join_sequence(queue, name, task_id)

    def leave_sequence(self, queue: str, task_id: str) -> None:
        self._decide(queue, None)
        super().leave_sequence(queue, task_id)

    def _decide(self, queue: str, first: str | None) -> None:
        if len(self.fetch("SELECT 1 FROM sequences WHERE queue = ? LIMIT 2", queue)) < 2:
            self.let_others_in()
            self._decided, self._first = True, first

    def first_of_sequence(self, queue: str, name: str) -> str | None:
        decided, self._decided = self._decided, False
        return self._first if decided else super().first_of_sequence(queue, name)
