"""Classification of a broker's answers: value or error, permanent or not, possibly applied or not."""

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
    """Return the answer, or raise it if it is an error."""
    if isinstance(answer, AsynqError):
        try:
            raise answer
        finally:
            # This frame is part of the traceback and must not keep the error and its callers alive.
            del answer
    return answer


def may_be_applied(error: AsynqError) -> bool:
    """True if the operation may have taken effect although it raised this error."""
    if isinstance(error, BrokerUnavailable | TooLargeError | LeaseLostError):
        return error.maybe_applied
    return isinstance(error, NotReplicatedError)


def is_final(error: AsynqError) -> bool:
    """True if the same operation raises this error again, however often it is sent."""
    if isinstance(error, BrokerRefusedError):
        return error.final
    return isinstance(error, TooLargeError | UnsupportedOperationError)
