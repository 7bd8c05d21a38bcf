"""Messages between a worker and its handler processes, and how they are pickled.

The main module has different names in the two processes; unpickling maps one to the other.
"""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from datetime import datetime

    from asynq.client.task import Task
    from asynq.handlers.processes.pickled_errors import HandlerRaised
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

MAIN = ("__main__", "__mp_main__")
"""Names of the main module: in the worker, and in the processes of `multiprocessing` and of this package."""


@frozen
class HandlerCall:
    """From the worker: call this function."""

    function: Callable[..., Any]
    delivery: Delivery
    task: Task
    payload: Any
    """The type to which the task's payload is decoded; None if the function takes the task."""
    progress: Any
    """The type of what the function writes while it runs; None if it is not declared."""
    deadline: datetime
    middlewares: Sequence[Callable[..., Any]]
    """Sync middlewares around the function."""
    trace: Mapping[str, str]
    """The current trace of the run, as headers; empty if it is not traced."""


@frozen
class BrokerRequest:
    """From the process: execute this operation on the broker."""

    op: Op[Any]


@frozen
class BrokerRequests:
    """From the process: execute these operations on the broker, in one call."""

    ops: tuple[Op[Any], ...]


@frozen
class BrokerReply:
    """From the worker: the broker's answer or answers, or its error."""

    answer: Any


@frozen
class HandlerReturned:
    """From the process: the function returned, and this is the task's result."""

    result: bytes | None


@frozen
class CallEnded:
    """From the process: the call has ended."""

    answer: HandlerReturned | HandlerRaised
    limit: str
    """Which limit the process has reached, in words: it takes no further calls. "" if none."""


def dumps(said: object) -> bytes:
    """Pickle a message. Raises what pickle raises for a part that cannot be pickled."""
    return pickle.dumps(said, protocol=pickle.HIGHEST_PROTOCOL)


def loads(data: bytes, theirs: Container[str], ours: Callable[[], str]) -> Any:
    """Unpickle a message. Modules named in `theirs` are looked up here under the name that `ours` returns."""
    return _Unpickler(io.BytesIO(data), theirs, ours).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, theirs: Container[str], ours: Callable[[], str]) -> None:
        super().__init__(file)
        self._main_names = theirs
        self._ours = ours

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self._ours() if module in self._main_names else module, name)
