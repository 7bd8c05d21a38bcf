"""The promises of a broker, and the promises that each law verifies."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SPEC_VERSION = "1.1"
"""Semantic version of the promises and laws. A new law increases the second number."""

Layer = Literal["A", "B", "C", "D"]

LAYERS: dict[Layer, str] = {
    "A": "laws",
    "B": "state machine",
    "C": "histories",
    "D": "disturbances",
}
"""How a promise is verified: by examples; by random programs compared with a model; by recordings of
concurrent processes; and by such recordings while servers and workers are disturbed."""


class Promise(Enum):
    """What users rely on. The value is the statement of the promise."""

    G1 = "no acknowledged task is lost"
    G2 = "every finished task was delivered at least once"
    G3 = "a task has one holder at a time; stale holders are refused"
    G4 = "a unique task has no duplicate until its lock ends"
    G5 = "strict priority"
    G6 = "weighted priority"
    G7 = "within a queue, tasks start in the order they became pending"
    G8 = "counters match what happened"
    G9 = "due work is never early and never forgotten"
    G10 = "an operation takes effect completely or not at all"
    G11 = "work resumes within a stated time after a fault"


def promise(*ids: str) -> Callable[[T], T]:
    """Decorator of a law that names the promises it verifies. On a class, it applies to laws that name none.

    Raises:
        ValueError: an id is not a promise.
    """
    unknown = [name for name in ids if name not in Promise.__members__]
    if unknown or not ids:
        raise ValueError(f"a law must verify promises from G1 to G11, not {', '.join(unknown) or 'nothing'}")

    def mark(law: T) -> T:
        target: Any = law
        if isinstance(law, type):
            target.promise = ids
        else:
            target.promises = ids
        return law

    return mark


def promises_of(law: object, cls: type | None) -> tuple[Promise, ...]:
    """Promises that a law verifies: its own, else those of the class that defines it. Can be empty."""
    named: str | tuple[str, ...] = getattr(law, "promises", ()) or getattr(_definer(law, cls), "promise", ())
    return tuple(Promise[name] for name in ((named,) if isinstance(named, str) else named))


def layer_of(law: object, cls: type | None) -> Layer:
    """The layer of the class that defines a law."""
    layer: Layer = getattr(_definer(law, cls), "layer", "A")
    return layer


def _definer(law: object, cls: type | None) -> type | None:
    name = getattr(law, "__name__", "")
    return next((base for base in cls.__mro__ if name in vars(base)), cls) if cls else None
