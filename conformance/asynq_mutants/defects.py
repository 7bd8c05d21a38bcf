"""Brokers in memory with one defect, and the laws that must detect it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from asynq.brokerkit.base import CalledBroker
from asynq.protocol.answers import unwrap
from asynq_sqlite.operations.execution import Each
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq.protocol.ops import Op
    from asynq_sqlite.operations.execution import Handler


@frozen
class BrokenHandler(Each):
    """Carries out operations one after the other, in a broken way."""

    broken: BrokenOperation


@frozen
class BrokenOperation:
    """A broken operation. Its function receives the correct handler, store, operation and time."""

    operation: type[Op[Any]]
    function: Callable[[Callable[..., Any], TaskStore, Any, int], Any]

    @property
    def name(self) -> str:
        """Name of the defect."""
        return self.function.__name__

    def instead(self, correct: Handler) -> BrokenHandler:
        """The broken handler, for the table of handlers."""

        def correct_one(store: TaskStore, op: Op[Any], now: int) -> Any:
            return unwrap(correct(store, (op,), now)[0])

        return BrokenHandler(partial(self.function, correct_one), self)


class BrokenBroker(CalledBroker):
    """Base of broken refusals and events, mixed into the brokers in memory and on a file."""


Broken = type[TaskStore] | type[BrokenBroker] | BrokenOperation
B = TypeVar("B", bound=Broken)
T = TypeVar("T")


@frozen
class Defect:
    """A broken broker, and one law with its parameters."""

    broken: Broken
    law: str
    parameters: Mapping[str, Any]
    bug: int | None
    """Its number if it is one of the bugs that every suite must catch."""
    on_file: bool
    """True if the defect is not visible in memory."""
    beyond_programs: str
    """Why no program of layer B can show it; "" if one must."""

    @property
    def name(self) -> str:
        """Name of the defect."""
        return self.broken.name if isinstance(self.broken, BrokenOperation) else self.broken.__name__


DEFECTS: list[Defect] = []


def caught_by(
    law: str, *, bug: int | None = None, on_file: bool = False, beyond_programs: str = "", **parameters: Any
) -> Callable[[B], B]:
    """Register a defect with a law that catches it."""

    def register(broken: B) -> B:
        DEFECTS.append(Defect(broken, law, parameters, bug, on_file, beyond_programs))
        return broken

    return register


def instead_of(operation: type[Op[Any]]) -> Callable[[Callable[..., Any]], BrokenOperation]:
    """Decorator of a function that replaces an operation by a broken one."""
    return lambda function: BrokenOperation(operation, function)
