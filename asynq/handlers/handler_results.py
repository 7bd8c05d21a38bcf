"""From what a handler returned or raised to the outcome of its run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from asynq.client.payload import encode_result
from asynq.errors import HandlerError, ResultError, RevokeTask, SkipRetry
from asynq.errors.text import error_text
from asynq.handlers.outcome import Failed, Succeeded, is_inspectable
from asynq.protocol.followers import MAX_PASSED_RESULT, is_parent
from asynq.protocol.ops import Complete
from asynq.protocol.value_sizes import too_large

if TYPE_CHECKING:
    from asynq.handlers.outcome import Outcome
    from asynq.protocol.broker import Broker
    from asynq.protocol.message import Delivery

_NO_RESULT: Final = Succeeded()


def returned(answer: Any, delivery: Delivery, broker: Broker) -> Outcome:
    """The outcome of a handler that returned. It fails if the broker cannot store its return value."""
    if answer is None:
        return _NO_RESULT
    try:
        result = encode_result(answer)
    except ResultError as error:
        return Failed(error)
    if delivery.message.retention > 0:
        complete = Complete(delivery=delivery, result=result)
        limit = broker.capabilities.max_value_bytes
        if is_parent(delivery.message):
            limit = MAX_PASSED_RESULT if limit is None else min(limit, MAX_PASSED_RESULT)
        if refused := too_large(complete, limit):
            return Failed(refused)
    return Succeeded(result)


def raised(error: BaseException, stop: Outcome | None) -> Outcome:
    """The outcome of a handler that raised. `stop`: the outcome if a cancellation caused the error."""
    # By its type: an error may raise another one when it is asked for its class.
    if issubclass(type(error), SkipRetry | RevokeTask):
        return Failed(as_exception(error))
    if stop is not None:
        return stop
    if issubclass(type(error), asyncio.CancelledError):
        return unexpected_cancellation()
    return Failed(as_exception(error))


def unexpected_cancellation() -> Failed:
    """The outcome of a handler that somebody else than its server cancelled."""
    return Failed(HandlerError("the handler was cancelled, but not by its server"))


def as_exception(error: BaseException) -> Exception:
    """The error itself, or a HandlerError that stands for it."""
    if not is_inspectable(error):
        # Without the error as its cause, which would make this one uninspectable too.
        return HandlerError(f"the handler raised an error that cannot be inspected: {error_text(error)}")
    if isinstance(error, Exception):
        return error
    wrapped = HandlerError(f"the handler raised {error_text(error)}")
    wrapped.__cause__ = error
    return wrapped
