"""Many operations at once, of which one that breaks the broker leaves the others alone.

A broker answers each operation or raises an AsynqError. One with a bug, or one that meets a value it does not
expect, raises an error of its own for all of them; then each operation is sent by itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.errors import AsynqError, BrokerUnavailable
from asynq.errors.text import error_text
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.protocol.ops import Op
    from asynq.runtime.sync_async import BrokerCalls

log = get_logger("asynq.broker")


async def execute_isolated(broker: BrokerCalls, ops: Sequence[Op[Any]]) -> list[Any]:
    """Execute operations so that one that breaks the broker does not affect the others.

    Returns:
        The answers, as `execute_many` gives them, with BrokerUnavailable in the place of an operation that
        makes the broker raise an error of another kind.

    Raises:
        AsynqError: `execute_many` raised it for all operations.
    """
    try:
        return list(await broker.execute_many(ops))
    except AsynqError:
        raise
    except Exception as error:
        log.exception("the broker raised an error of its own")
        if not _can_be_parted(ops):
            return [_broken(error)] * len(ops)
    answers: list[Any] = []
    for op in ops:
        try:
            answers += await broker.execute_many([op])
        except AsynqError as error:
            answers.append(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - it was logged for all of them
            answers.append(_broken(error))
    return answers


def _can_be_parted(ops: Sequence[Op[Any]]) -> bool:
    """Whether each is to be sent by itself: some may have been applied already."""
    return len(ops) > 1 and all(op.idempotent for op in ops)


def _broken(error: Exception) -> BrokerUnavailable:
    return BrokerUnavailable(f"it raised an error of its own: {error_text(error)}", maybe_applied=True)
