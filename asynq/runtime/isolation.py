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

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op

log = get_logger("asynq.broker")


async def aexecute_isolated(broker: Broker, ops: Sequence[Op[Any]]) -> list[Any]:
    """What `aexecute_many` answers; BrokerUnavailable in the place of an operation that breaks the broker.

    Raises the AsynqError that `aexecute_many` raises for all of them.
    """
    try:
        return list(await broker.aexecute_many(ops))
    except AsynqError:
        raise
    except Exception as error:
        log.exception("the broker raised an error of its own")
        if not _can_be_parted(ops):
            return [_broken(error)] * len(ops)
    answers: list[Any] = []
    for op in ops:
        try:
            answers += await broker.aexecute_many([op])
        except AsynqError as error:
            answers.append(error.with_traceback(None))
        except Exception as error:  # noqa: BLE001 - it was logged for all of them
            answers.append(_broken(error))
    return answers


def execute_isolated(broker: Broker, ops: Sequence[Op[Any]]) -> list[Any]:
    """`aexecute_isolated` for the plain face."""
    try:
        return list(broker.execute_many(ops))
    except AsynqError:
        raise
    except Exception as error:
        log.exception("the broker raised an error of its own")
        if not _can_be_parted(ops):
            return [_broken(error)] * len(ops)
    answers: list[Any] = []
    for op in ops:
        try:
            answers += broker.execute_many([op])
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
