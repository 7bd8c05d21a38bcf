"""The limit `max_size`: a full file refuses operations that make it grow, and never those that empty it.

Operations that delete, move or settle tasks are limited by the disk only. To keep them from growing the file
without bound, a full file stores only the beginning of an error, records no failed attempt, and refuses
results beyond a reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from asynq.errors import BrokerFullError
from asynq.protocol.ops import Enqueue, EnqueueTick, UpdateTask

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from asynq_sqlite.store.connection import StoreConnection

T = TypeVar("T")

MAX_SMALL_VALUE: Final = 100
"""Number of characters of an error, and of bytes of a result, that are always stored."""
_CUT: Final = " ... (cut: the store is full)"
_ADVICE: Final = "let workers run tasks, delete finished ones, or raise max_size"
_RESERVE: Final = 256 * 1024
"""Number of bytes beyond 1.25 times `max_size` that results may fill."""


def within(session: StoreConnection, op: Op[Any], carry_out: Callable[[], T]) -> T:
    """Carry out an operation and return its answer.

    Raises:
        BrokerFullError: The operation made a full file grow. The caller must undo it.

    """
    if session.max_size is None or not isinstance(op, Enqueue | EnqueueTick | UpdateTask):
        return carry_out()
    changes, before = session.connection.total_changes, session.used()
    answer = carry_out()
    changed = session.connection.total_changes > changes
    after = session.used()
    # A payload that is not longer than the one before does not make the file grow.
    grown = after > before if isinstance(op, UpdateTask) else changed
    if grown and after > session.max_size:
        raise BrokerFullError(f"tasks fill the {session.max_size} bytes of max_size; {_ADVICE}")
    return answer


def is_full(session: StoreConnection) -> bool:
    """Return whether the file has reached its `max_size`."""
    return session.max_size is not None and session.used() > session.max_size


def fitted(session: StoreConnection, error: str) -> str:
    """Return the error, or its beginning if the file is full."""
    if len(error) <= MAX_SMALL_VALUE or not is_full(session):
        return error
    return error[: MAX_SMALL_VALUE - len(_CUT)] + _CUT


def check_result(session: StoreConnection, result: bytes) -> None:
    """Raise BrokerFullError for a result that does not fit into the reserve."""
    most = session.max_size
    if most is not None and len(result) > MAX_SMALL_VALUE and session.used() > most + most // 4 + _RESERVE:
        raise BrokerFullError(
            f"tasks fill the {most} bytes of max_size, and results the reserve beyond it; {_ADVICE}"
        )
