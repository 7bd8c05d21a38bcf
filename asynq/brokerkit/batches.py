"""The transactions of a call: how its operations are divided, and what a failure among them means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from asynq.errors import AsynqError, BrokerFullError, BrokerRefusedError, BrokerUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from asynq.protocol.ops import Op

Transact: TypeAlias = "Callable[[Sequence[Op[Any]]], Awaitable[list[Any]]]"
"""Carries out operations in one transaction. See `CalledBroker.transact`."""


def batches(ops: Sequence[Op[Any]], size: int) -> Iterator[Sequence[Op[Any]]]:
    """Divide operations into batches of at most `size`."""
    if len(ops) <= size:
        return iter((ops,) if ops else ())
    return (ops[start : start + size] for start in range(0, len(ops), size))


async def transact_in_turn(parts: Iterable[Sequence[Op[Any]]], transact: Transact) -> list[Any]:
    """Carry out each part in a transaction, and a part that found no space operation by operation.

    Returns:
        The answers in order. An operation for which there is no space is answered with BrokerFullError.

    Raises:
        BrokerUnavailable: The store cannot be reached. `maybe_applied` is set if an earlier transaction of
            the call has been carried out.

    """
    answers: list[Any] = []
    for part in parts:
        try:
            answers += await transact_together(part, transact)
        except BrokerUnavailable as error:
            if not answers or error.maybe_applied:
                raise
            raise BrokerUnavailable(error.reason, maybe_applied=True) from error
    return answers


async def transact_together(part: Sequence[Op[Any]], transact: Transact) -> list[Any]:
    """Carry out one part; see `transact_in_turn`."""
    try:
        return await transact(part)
    except BrokerFullError as error:
        if len(part) == 1:
            return [error.with_traceback(None)]
    return await transact_in_turn(([op] for op in part), transact)


def blocking(transact: Callable[[Sequence[Op[Any]]], list[Any]]) -> Transact:
    """Make a blocking function usable in coroutines that `completed` runs. See asynq.runtime.sync_async."""

    async def call(ops: Sequence[Op[Any]]) -> list[Any]:
        return transact(ops)

    return call


def refused_as(op: Op[Any], error: AsynqError | UnicodeError | OverflowError) -> AsynqError:
    """Return the answer to an operation that raised this error."""
    if isinstance(error, AsynqError):
        # An answer is kept by its caller: it must not keep the frames that the error passed through.
        return error.with_traceback(None)
    return BrokerRefusedError(f"{type(op).__name__} holds a value that cannot be stored: {error}", final=True)
