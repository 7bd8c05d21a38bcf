"""`Op`, the base class of all broker operations, and bounds that several of them share."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from msgspec import Struct

T_co = TypeVar("T_co", covariant=True)

MAX_BATCH = 50
"""The most tasks that one atomic step of a backend moves, so that no other client waits longer than about 1
ms."""
MAX_ARCHIVED = 10_000
"""Tasks that the archive of a queue keeps: archiving one more deletes the oldest."""
MAX_ARCHIVED_AGE = 90 * 24 * 3600 * 1000
"""Milliseconds for which the archive of a queue keeps a task."""


class Op(Struct, Generic[T_co], frozen=True, gc=False):
    """A request to a broker whose answer is a T_co.

    Operations and the values that they carry are plain data. They cannot be part of a reference cycle, so the
    garbage collector need not track those that are created for each task (`gc=False`).
    """

    idempotent: ClassVar[bool] = True
    """True if sending the operation again after a lost reply does no harm."""
    read_only: ClassVar[bool] = False
    """True if the operation changes nothing."""
