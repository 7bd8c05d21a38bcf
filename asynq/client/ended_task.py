"""`EndedTask`, and how results and progress are decoded for clients."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from attrs import frozen

from asynq.client.payload import result_decoder
from asynq.client.results import result_of
from asynq.client.task_type import TaskDefinition
from asynq.errors import ResultError, TaskFailedError, TaskGoneError
from asynq.info import TaskInfo
from asynq.result_types import UNDECLARED, ResultTypes

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from asynq.protocol.message import StoredTask

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@frozen(kw_only=True)
class EndedTask(Generic[R_co]):
    """A task that has ended; see `Client.as_completed`."""

    info: TaskInfo
    """The task when it ended; as it was given if it is gone."""
    error: TaskFailedError | TaskGoneError | ResultError | None
    """Why there is no result; None if there is one."""
    _value: R_co | None

    def result(self) -> R_co:
        """The result of the task, as `Client.wait` returns it.

        Raises:
            TaskFailedError: the task was archived.
            TaskGoneError: the task was deleted or revoked, or its retention is over.
            ResultError: the result cannot be decoded.
        """
        if self.error is not None:
            raise self.error
        return self._value  # type: ignore[return-value]  # R_co may itself be optional


def decoder_of(kind: Any, info: TaskInfo | None, option: str = "result") -> Callable[[str, bytes], Any]:
    """A function from (task id, stored bytes) to a value of this type, which a definition may declare.

    If the type is None, to a value of the type that the definition of the task declares. Without one, the
    bytes are returned as stored.
    """
    if isinstance(kind, TaskDefinition):
        kind = getattr(kind.result_types, option)
    elif kind is None:
        kind = getattr(info.result_types if info is not None else UNDECLARED, option)
    return result_decoder(kind, option)


def types_of(definition: TaskDefinition | None) -> ResultTypes:
    """The types that a definition declares. TypeError if it is none."""
    if definition is None:
        return UNDECLARED
    if not isinstance(definition, TaskDefinition):
        given = type(definition).__name__
        raise TypeError(f"task_type must be an asynq.TaskType or a function that is a task, not {given}")
    return definition.result_types


async def decoded(items: AsyncGenerator[R, None], decode: Callable[[R], Any]) -> AsyncGenerator[Any, None]:
    """The items, each decoded."""
    async with aclosing(items):
        async for item in items:
            yield decode(item)


def ended_task(kind: Any, found: tuple[TaskInfo, StoredTask | TaskGoneError]) -> EndedTask[Any]:
    """An item of `Results.as_completed` for users. Its result is decoded to this type, as by `decoder_of`."""
    info, end = found
    if isinstance(end, TaskGoneError):
        return EndedTask(info=info, error=end, value=None)
    decode, ended = decoder_of(kind, info), TaskInfo.of(end, info.result_types)
    try:
        return EndedTask(info=ended, error=None, value=decode(info.id, result_of(end)))
    except (TaskFailedError, ResultError) as error:
        return EndedTask(info=ended, error=error.with_traceback(None), value=None)
