"""Size limits: the size of the payload or result of an operation, and the error when it is too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from asynq.checks import check_count, check_positive
from asynq.errors import AsynqError, BrokerRefusedError, PayloadTooLargeError, ResultTooLargeError
from asynq.protocol.failures import without_failures
from asynq.protocol.ops import (
    Archive,
    Complete,
    Enqueue,
    EnqueueTick,
    FinishAggregation,
    ImportTask,
    Recover,
    Retry,
    UpdateTask,
    WriteResult,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import TaskMessage
    from asynq.protocol.ops import Op
    from asynq.protocol.transfer import TaskImage

MAX_VALUE_BYTES: Final = 64 * 1024 * 1024
"""Default limit of a value in bytes: a common network transfers as much within a second.

Redis accepts 512 MB by default, and SQLite 1 GB for a task with its result.
"""


def check_max_value_bytes(value: object) -> None:
    """Raise TypeError or ValueError unless the value is a positive number of bytes."""
    check_count("max_value_bytes", value)
    check_positive("max_value_bytes", value)


def message_size(message: TaskMessage) -> int:
    """Bytes of the payload and the headers."""
    size = len(message.payload)
    for name, value in message.headers.items():
        size += _length(name) + _length(value)
    return size


def too_large(op: Op[Any], limit: int | None) -> AsynqError | None:
    """The error for an operation whose value has more than `limit` bytes; None for any other."""
    size_of = _LIMITED.get(type(op))
    if limit is None or size_of is None:
        return None
    size = size_of(op)
    return refusal(op, size, limit) if size > limit else None


def refusal(op: Op[Any], size: int, limit: int, *, maybe_applied: bool = False) -> AsynqError:
    """The error for an operation that is too large; see `TooLargeError` for the fields."""
    match op:
        case Enqueue(message=message):
            return PayloadTooLargeError(message.queue, message.id, size, limit, maybe_applied)
        case EnqueueTick(enqueue=enqueue) | FinishAggregation(enqueue=enqueue):
            return refusal(enqueue, size, limit, maybe_applied=maybe_applied)
        case ImportTask(image=image):
            message = image.message
            return PayloadTooLargeError(message.queue, message.id, size, limit, maybe_applied)
        case UpdateTask():
            return PayloadTooLargeError(op.queue, op.task_id, size, limit, maybe_applied)
        case Complete():
            lease = op.delivery.lease
            return ResultTooLargeError(lease.queue, lease.task_id, size, limit, maybe_applied)
        case WriteResult():
            return ResultTooLargeError(op.lease.queue, op.lease.task_id, size, limit, maybe_applied)
        case Retry() | Archive():
            lease = op.delivery.lease
            return PayloadTooLargeError(lease.queue, lease.task_id, size, limit, maybe_applied)
        case Recover():
            message = op.lost.message
            return PayloadTooLargeError(message.queue, message.id, size, limit, maybe_applied)
    most = f", and the limit is {limit}" if limit else ""
    return BrokerRefusedError(f"{type(op).__name__} is too large: it has {size} bytes{most}", final=True)


def value_size(op: Op[Any]) -> int:
    """Bytes of the value of an operation, as limits count them: a payload with its headers, or a result."""
    size_of = _LIMITED.get(type(op)) or _UNLIMITED.get(type(op))
    return size_of(op) if size_of else 0


def _image_size(image: TaskImage) -> int:
    """Bytes that the producer of the task chose: its failures do not keep it from being moved."""
    headers = without_failures(image.message.headers)
    return message_size(
        image.message if headers is image.message.headers else replace(image.message, headers=headers)
    )


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


_LIMITED: dict[type[Op[Any]], Callable[[Any], int]] = {
    Enqueue: lambda op: message_size(op.message),
    EnqueueTick: lambda op: message_size(op.enqueue.message),
    FinishAggregation: lambda op: message_size(op.enqueue.message),
    ImportTask: lambda op: max(_image_size(op.image), len(op.image.result or b"")),
    UpdateTask: lambda op: len(op.payload or b""),
    Complete: lambda op: len(op.result or b""),
    WriteResult: lambda op: len(op.result),
}
_UNLIMITED: dict[type[Op[Any]], Callable[[Any], int]] = {
    Retry: lambda op: message_size(op.delivery.message) + _length(op.error),
    Archive: lambda op: message_size(op.delivery.message) + _length(op.error),
    Recover: lambda op: message_size(op.lost.message) + _length(op.error),
}
"""Operations that write a task again, with an error: only the store itself may find them too large."""
