"""`Op`, the base class of all broker operations, and the largest batch of one operation."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from attrs import frozen

T_co = TypeVar("T_co", covariant=True)

MAX_BATCH = 50
"""The most tasks that one atomic step of a backend moves, so that no other client waits longer than about 1
ms."""


@frozen
class Op(Generic[T_co]):
    """A request to a broker whose answer is a T_co."""

    idempotent: ClassVar[bool] = True
    """True if sending the operation again after a lost reply does no harm."""
    read_only: ClassVar[bool] = False
    """True if the operation changes nothing."""
