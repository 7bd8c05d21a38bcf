"""Brokers in memory with one thing broken, and the laws that must notice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import frozen

from asynq.brokerkit.base import CalledBroker
from asynq_sqlite.store.task_store import TaskStore

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq.protocol.ops import Op


@frozen
class Twist:
    """An operation carried out in another way: called with the honest way, the store, the operation, now."""

    operation: type[Op[Any]]
    function: Callable[[Callable[..., Any], TaskStore, Any, int], Any]

    @property
    def name(self) -> str:
        """What is wrong."""
        return self.function.__name__

    def instead(self, honest: Callable[..., Any]) -> Callable[..., Any]:
        """A handler for the table of handlers."""
        return partial(self.function, honest)


class BrokenRefusals(CalledBroker):
    """What a broker refuses, in another way: mixed into the brokers of memory and of files."""


Broken = type[TaskStore] | type[BrokenRefusals] | Twist
B = TypeVar("B", bound=Broken)
T = TypeVar("T")


@frozen
class Defect:
    """A broken broker, and one law with its parameters."""

    broken: Broken
    law: str
    parameters: Mapping[str, Any]
    bug: int | None
    """Its number, where it is one of the bugs every suite must catch."""
    on_file: bool
    """True if memory does not show it."""
    beyond_programs: str
    """Why no program of layer B can show it; "" where one must."""

    @property
    def name(self) -> str:
        """What is wrong."""
        return self.broken.name if isinstance(self.broken, Twist) else self.broken.__name__


DEFECTS: list[Defect] = []


def caught_by(
    law: str, *, bug: int | None = None, on_file: bool = False, beyond_programs: str = "", **parameters: Any
) -> Callable[[B], B]:
    """Register something broken with a law that catches it."""

    def register(broken: B) -> B:
        DEFECTS.append(Defect(broken, law, parameters, bug, on_file, beyond_programs))
        return broken

    return register


def instead_of(operation: type[Op[Any]]) -> Callable[[Callable[..., Any]], Twist]:
    """Decorator of a function that carries out an operation in a broken way."""
    return lambda function: Twist(operation, function)
