"""What every operation of a broker has in common."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from attrs import frozen

T_co = TypeVar("T_co", covariant=True)

MAX_BATCH = 50
"""Most tasks one atomic step of a backend moves, so that no other client waits longer than about 1 ms."""


@frozen
class Op(Generic[T_co]):
    """A request to a broker whose answer is a T_co."""

    idempotent: ClassVar[bool] = True
    """True if sending it again after a lost reply cannot do harm."""
    read_only: ClassVar[bool] = False
    """True if it changes nothing."""
