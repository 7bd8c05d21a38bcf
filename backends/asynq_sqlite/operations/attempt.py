"""One operation of a transaction: its answer, or the error in its place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from asynq.brokerkit.batches import refused_as
from asynq.errors import AsynqError
from asynq_sqlite.store import free_space
from asynq_sqlite.store.sqlite_errors import REFUSED_VALUES, refused_value

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.ops import Op
    from asynq_sqlite.store.task_store import TaskStore


class HalfDoneError(Exception):
    """An operation was refused after it had changed something, which must be undone."""

    def __init__(self, answer: AsynqError) -> None:
        super().__init__(answer)
        self.answer = answer
        """The answer to the operation, once what it changed has been undone."""


def attempt(store: TaskStore, op: Op[Any], carry_out: Callable[..., Any], *arguments: Any) -> Any:
    """Return what `carry_out` returns for the operation, or the error in its place.

    Raises:
        HalfDoneError: The operation was refused after it had changed something.
        sqlite3.Error: The transaction as a whole has failed.

    """
    changes = store.connection.total_changes
    try:
        if store.max_size is None:
            return carry_out(*arguments)
        return free_space.within(store, op, partial(carry_out, *arguments))
    except (AsynqError, *REFUSED_VALUES) as error:
        answer = refusal(op, error)
        if store.connection.total_changes == changes:
            return answer
        raise HalfDoneError(answer) from None


def refusal(op: Op[Any], error: Exception) -> AsynqError:
    """Return the answer to an operation that raised an AsynqError or one of REFUSED_VALUES."""
    return refused_as(op, error if isinstance(error, AsynqError) else refused_value(op, error))
