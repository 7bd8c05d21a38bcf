"""What a broker promises, and which law verifies which promise."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

SPEC_VERSION = "1.1"
"""Version of the promises and laws, semantic: a new law raises the second number."""

Layer = Literal["A", "B", "C", "D"]

LAYERS: dict[Layer, str] = {
    "A": "laws",
    "B": "state machine",
    "C": "histories",
    "D": "disturbances",
}
"""How a promise is verified: by examples, by random programs beside a model, by what concurrent processes
recorded, and by the same while servers and workers are disturbed."""


class Promise(Enum):
    """What users build on. The value is the sentence."""

    G1 = "no acknowledged task is lost"
    G2 = "every finished task was handed out, at least once"
    G3 = "one holder at a time, stale ones are refused"
    G4 = "uniqueness within its time"
    G5 = "strict priority"
    G6 = "weighted priority"
    G7 = "first in, first out"
    G8 = "counters count what happened"
    G9 = "never early, never forgotten"
    G10 = "an operation happens wholly or not at all"
    G11 = "work goes on within a stated time after a fault"


def promise(*ids: str) -> Callable[[T], T]:
    """Decorator of a law: the promises it verifies. On a class of laws, those of all laws that name none.

    ValueError for an id that is no promise.
    """
    unknown = [name for name in ids if name not in Promise.__members__]
    if unknown or not ids:
        raise ValueError(f"a law verifies promises G1 to G11, not {', '.join(unknown) or 'nothing'}")

    def mark(law: T) -> T:
        target: Any = law
        if isinstance(law, type):
            target.promise = ids
        else:
            target.promises = ids
        return law

    return mark


def promises_of(law: object, cls: type | None) -> tuple[Promise, ...]:
    """What a law verifies: what it says itself, else what the class that defines it says. May be nothing."""
    named: str | tuple[str, ...] = getattr(law, "promises", ()) or getattr(_definer(law, cls), "promise", ())
    return tuple(Promise[name] for name in ((named,) if isinstance(named, str) else named))


def layer_of(law: object, cls: type | None) -> Layer:
    """The layer of the class that defines a law."""
    layer: Layer = getattr(_definer(law, cls), "layer", "A")
    return layer


def _definer(law: object, cls: type | None) -> type | None:
    name = getattr(law, "__name__", "")
    return next((base for base in cls.__mro__ if name in vars(base)), cls) if cls else None
