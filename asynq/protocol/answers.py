"""What a broker's answers mean to whoever asked: a value, an error, and what an error leaves open."""

from __future__ import annotations

from typing import Any

from asynq.errors import (
    AsynqError,
    BrokerRefusedError,
    BrokerUnavailable,
    LeaseLostError,
    NotReplicatedError,
    TooLargeError,
    UnsupportedOperationError,
)


def unwrap(answer: Any) -> Any:
    """The answer itself, or the error it is, raised."""
    if isinstance(answer, AsynqError):
        try:
            raise answer
        finally:
            # This frame is part of the traceback: it must not keep the error, and its callers, alive.
            del answer
    return answer


def may_be_applied(error: AsynqError) -> bool:
    """True for an error that leaves open whether what was asked took effect."""
    if isinstance(error, BrokerUnavailable | TooLargeError | LeaseLostError):
        return error.maybe_applied
    return isinstance(error, NotReplicatedError)


def is_final(error: AsynqError) -> bool:
    """True for an error that the same operation meets again, however often it is sent."""
    if isinstance(error, BrokerRefusedError):
        return error.final
    return isinstance(error, TooLargeError | UnsupportedOperationError)
