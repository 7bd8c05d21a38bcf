"""Saboteurs: stores with a bug that is visible only under concurrency, and the rule that must detect it.

Each is correct as long as one caller works at a time. The bug is that another caller can intervene.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from attrs import frozen

from asynq.protocol import ops
from asynq_sqlite import SQLiteBroker
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.protocol.broker import Broker
    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Unique
    from asynq_sqlite.store.rows import FullRow

T = TypeVar("T")


@frozen
class SaboteurTrial:
    """The rules of which one must detect a saboteur, and what its runs do more often than others."""

    rules: tuple[str, ...]
    plan: Mapping[str, Any]
    bug: int | None
    """Its number if it is one of the bugs that every suite must catch."""


SABOTEURS: dict[str, SaboteurTrial] = {}
_CLASSES: dict[str, type[Any]] = {}


def noticed_by(*rules: str, bug: int | None = None, **plan: Any) -> Callable[[type[T]], type[T]]:
    """Register a store or a broker with the rules that detect it."""

    def register(saboteur: type[T]) -> type[T]:
        SABOTEURS[saboteur.__name__] = SaboteurTrial(rules, plan, bug)
        _CLASSES[saboteur.__name__] = saboteur
        return saboteur

    return register


def open_broker(saboteur: str, path: str) -> Broker:
    """Create a broker of this kind. Other processes call this."""
    cls: type[Any] = _CLASSES[saboteur]
    if issubclass(cls, TaskStore):
        return SQLiteBroker(path, durability="process", store=cls)
    broker: Broker = cls(path, durability="process")
    return broker


class InterruptedStore(TaskStore):
    """A store that can end its transaction in the middle of an operation, and let other callers in."""

    meanwhile: ClassVar[float] = 0.003
    """Seconds given to other callers."""

    def let_others_in(self) -> None:
        self.connection.execute("COMMIT")
        time.sleep(self.meanwhile)
        while True:
            try:
                self.connection.execute("BEGIN IMMEDIATE")
                break
            except sqlite3.OperationalError:
                time.sleep(0.0005)


@noticed_by("C3", "C12", bug=16)
class PopsInTwoSteps(InterruptedStore):
    def pop_pending(self, queue: str, limit: int) -> list[FullRow]:
        rows = super().pop_pending(queue, limit)
        self.let_others_in()
        return rows


@noticed_by("C5", bug=28, locked=0.6)
class ChecksThenLocks(InterruptedStore):
    meanwhile = 0.02

    def take_lock(self, message: TaskMessage, unique: Unique, expires_at: int) -> None:
        self.let_others_in()
        super().take_lock(message, unique, expires_at)


@noticed_by("C13", sequenced=0.2)
class JoinsInTwoSteps(InterruptedStore):
    """That a sequence is empty is looked up before others are let in."""

    meanwhile = 0.05
    _is_first = ""

    def join_sequence(self, queue: str, name: str, task_id: str) -> None:
        alone = super().first_of_sequence(queue, name) is None
        if alone:
            self.let_others_in()
        super().join_sequence(queue, name, task_id)
        self._is_first = task_id if alone else ""

    def first_of_sequence(self, queue: str, name: str) -> str | None:
        first, self._is_first = self._is_first, ""
        return first or super().first_of_sequence(queue, name)


@noticed_by("C8")
class CountsInTwoSteps(InterruptedStore):
    def count(self, queue: str, now: int, *, runs: int, failed: int) -> None:
        super().count(queue, now, runs=runs, failed=failed)
        totals = self.fetch("SELECT processed, failed FROM queues WHERE name = ?", queue)
        self.let_others_in()
        self.connection.execute(
            "UPDATE queues SET processed = ?, failed = ? WHERE name = ?", (*totals[0], queue)
        )


@noticed_by("C6", actions={"pause": 5})
class RemembersPauses(TaskStore):
    """Checks only once a second whether a queue is paused."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._known: dict[str, tuple[float, bool]] = {}

    def is_paused(self, queue: str) -> bool:
        at, paused = self._known.get(queue, (0.0, False))
        if time.monotonic() > at + 1:
            paused = super().is_paused(queue)
            self._known[queue] = time.monotonic(), paused
        return paused

    def pause(self, queue: str, now: int) -> bool:
        self._known.pop(queue, None)
        return super().pause(queue, now)

    def unpause(self, queue: str) -> bool:
        self._known.pop(queue, None)
        return super().unpause(queue)


@noticed_by("C10")
class SettlesBehind(SQLiteBroker):
    """Acknowledges a run before it is stored, and loses the last one when its process ends."""

    _behind: list[Any]

    def execute_many(self, operations: Sequence[Any], /) -> list[Any]:
        behind, self._behind = getattr(self, "_behind", []), []
        if len(operations) == 1 and isinstance(operations[0], ops.Done):
            self._behind = [operations[0]]
            operations = []
        return super().execute_many([*behind, *operations])[len(behind) :] or [None]

    async def aexecute_many(self, operations: Sequence[Any], /) -> list[Any]:
        behind, self._behind = getattr(self, "_behind", []), []
        if len(operations) == 1 and isinstance(operations[0], ops.Done):
            self._behind = [operations[0]]
            operations = []
        return (await super().aexecute_many([*behind, *operations]))[len(behind) :] or [None]
