"""How much room there is: a full file refuses what makes it grow, and nothing that empties it.

Nothing but the disk bounds operations that free, move or settle tasks. They must not let the file grow
without end: a full file keeps the beginning of an error only, and results are refused beyond a reserve.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from asynq.errors import BrokerFullError
from asynq.protocol.ops import Enqueue, EnqueueTick, UpdatePayload

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from asynq_sqlite.store.connection import StoreConnection

T = TypeVar("T")

MAX_SMALL_VALUE: Final = 100
"""Characters of an error, bytes of a result, that are always stored."""
_CUT: Final = " ... (cut: the store is full)"
_ADVICE: Final = "let workers run tasks, delete finished ones, or raise max_size"
_RESERVE: Final = 256 * 1024
"""Bytes beyond `max_size` and a quarter of it that results may fill."""


def within(session: StoreConnection, op: Op[Any], carry_out: Callable[[], T]) -> T:
    """The answer to an operation; BrokerFullError when it is one that must not fill the file any further."""
    if session.max_size is None or not isinstance(op, Enqueue | EnqueueTick | UpdatePayload):
        return carry_out()
    changes, before = session.connection.total_changes, session.used()
    answer = carry_out()
    changed = session.connection.total_changes > changes
    after = session.used()
    # A payload that is no longer than the one before makes nothing grow.
    grown = after > before if isinstance(op, UpdatePayload) else changed
    if grown and after > session.max_size:
        raise BrokerFullError(f"tasks fill the {session.max_size} bytes of max_size; {_ADVICE}")
    return answer


def fitted(session: StoreConnection, error: str) -> str:
    """The error, only its beginning when the file is full."""
    if len(error) <= MAX_SMALL_VALUE or session.max_size is None or session.used() <= session.max_size:
        return error
    return error[: MAX_SMALL_VALUE - len(_CUT)] + _CUT


def check_result(session: StoreConnection, result: bytes) -> None:
    """BrokerFullError for a result that has no room."""
    most = session.max_size
    if most is not None and len(result) > MAX_SMALL_VALUE and session.used() > most + most // 4 + _RESERVE:
        raise BrokerFullError(
            f"tasks fill the {most} bytes of max_size, and results the reserve beyond it; {_ADVICE}"
        )
