"""Opens brokers with a defect, in this process and in others."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from unittest import mock

import asynq_mutants.embedded  # noqa: F401 - it registers the defects
from asynq_conformance.harness import Harness
from asynq_mutants.defects import DEFECTS, BrokenHandler, BrokenOperation
from asynq_mutants.resends import ResendingBroker
from asynq_sqlite import MemoryBroker, SQLiteBroker
from asynq_sqlite.operations.execution import HANDLERS
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from asynq.clock import FakeClock
    from asynq.protocol.ops import Op
    from asynq_mutants.defects import Broken, BrokenBroker

BrokerT = TypeVar("BrokerT")
T = TypeVar("T")

_UNDECODABLE: Final = "UPDATE tasks SET headers = '{' WHERE queue = ? AND id = ?"
_STRANDED: Final = "UPDATE tasks SET lease_token = NULL WHERE queue = ? AND id = ?"


class Crowd(SQLiteBroker):
    """A broker that gives each calling thread its own broker on the file, like separate processes."""

    def __init__(self, path: Path, **options: Any) -> None:
        super().__init__(path, **options)
        self._path, self._options = path, options
        self._all: list[SQLiteBroker] = []
        self._own = threading.local()

    def execute(self, op: Op[T]) -> T:
        """Execute one operation."""
        if not hasattr(self._own, "broker"):
            self._own.broker = SQLiteBroker(self._path, **self._options)
            self._all.append(self._own.broker)
        own: SQLiteBroker = self._own.broker
        return own.execute(op)

    def close(self) -> None:
        """Execute operations as a batch."""
        brokers, self._all, self._own = self._all, [], threading.local()
        for broker in brokers:
            broker.close()
        super().close()


class BrokenHarness(Harness):
    """Opens brokers on a file, or in memory without one."""

    def __init__(self, broken: type[TaskStore | BrokenBroker], path: Path | None = None) -> None:
        self.broken = broken
        self.path = path

    def open(self, clock: FakeClock) -> MemoryBroker | Crowd:
        if self.path is None:
            return _broken_broker(MemoryBroker, self.broken, clock=clock)
        return _broken_broker(Crowd, self.broken, self.path, clock=clock, durability="process")

    def corrupt(self, queue: str, task_id: str) -> None:
        if self.path is None:
            super().corrupt(queue, task_id)
        else:
            _damage(self.path, _UNDECODABLE, queue, task_id)

    def strand(self, queue: str, task_id: str) -> None:
        if self.path is None:
            super().strand(queue, task_id)
        else:
            _damage(self.path, _STRANDED, queue, task_id)


def _damage(path: Path, sql: str, queue: str, task_id: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(sql, (queue, task_id))


def _broken_broker(
    broker: Callable[..., BrokerT], broken: type[TaskStore | BrokenBroker], *arguments: Any, **options: Any
) -> BrokerT:
    """Create a broker of this kind with broken steps, refusals or events."""
    if issubclass(broken, TaskStore):
        return broker(*arguments, store=broken, **options)
    mixed: Callable[..., BrokerT] = type(broken.__name__, (broken, cast("type", broker)), {})
    return mixed(*arguments, **options)


@contextmanager
def broken_harness(broken: Broken | None, path: Path | None = None) -> Iterator[Harness]:
    """A function that opens brokers with this defect; correct ones for None."""
    if isinstance(broken, BrokenOperation):
        correct = HANDLERS[broken.operation]
        with mock.patch.dict(HANDLERS, {broken.operation: broken.instead(correct)}):
            yield BrokenHarness(TaskStore, path)
    else:
        yield BrokenHarness(broken or TaskStore, path)


def open_broken(
    defect: str | None, path: str | Path, *, resends: bool = False, **options: Any
) -> SQLiteBroker:
    """A broker on a file with the defect of this name; a correct one for None. Other processes call this.

    With `resends` the broker sends operations again, see `asynq_mutants.resends`. A replaced operation
    affects all brokers of the process from then on. A caller that uses other brokers afterwards wraps this in
    `mended`.
    """
    steps: type[TaskStore | BrokenBroker] = TaskStore
    for broken in {found.broken for found in DEFECTS if found.name == defect}:
        if isinstance(broken, BrokenOperation):
            _replace(broken)
        else:
            steps = broken
    kind = ResendingBroker if resends else SQLiteBroker
    return _broken_broker(kind, steps, path, durability="process", **options)


def _replace(broken: BrokenOperation) -> None:
    present = HANDLERS[broken.operation]
    if not isinstance(present, BrokenHandler) or present.broken is not broken:
        HANDLERS[broken.operation] = broken.instead(present)


def mended() -> AbstractContextManager[Any]:
    """Restore all replaced operations at the end of the context."""
    return mock.patch.dict(HANDLERS)
