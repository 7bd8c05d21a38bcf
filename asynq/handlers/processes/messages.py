"""What a worker and its handler processes say to each other: pickles, each to the other's own modules."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from datetime import datetime

    from asynq.client.task import Task
    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

MAIN = ("__main__", "__mp_main__")
"""What the module of the program is called, and what `multiprocessing` and we call it in other processes."""


@frozen
class HandlerCall:
    """The worker: run this function."""

    function: Callable[..., Any]
    delivery: Delivery
    task: Task
    payload: Any
    """The type to decode the task's payload to, for a function which is given that; None for one of tasks."""
    deadline: datetime


@frozen
class BrokerRequest:
    """The process: have the broker carry this out for me."""

    op: Op[Any]


@frozen
class BrokerReply:
    """The worker: this is the broker's answer, or its error."""

    answer: Any


@frozen
class HandlerReturned:
    """The process: the function returned; this is the task's result."""

    result: bytes | None


def dumps(said: object) -> bytes:
    """As bytes. Whatever pickle raises when a part of it cannot travel."""
    return pickle.dumps(said, protocol=pickle.HIGHEST_PROTOCOL)


def loads(data: bytes, theirs: Container[str], ours: Callable[[], str]) -> Any:
    """What the other side said. Its modules `theirs` are known here by the name that `ours` answers."""
    return _Unpickler(io.BytesIO(data), theirs, ours).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, theirs: Container[str], ours: Callable[[], str]) -> None:
        super().__init__(file)
        self._main_names = theirs
        self._ours = ours

    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(self._ours() if module in self._main_names else module, name)
