"""`TimedBroker`: tells a recorder how long the calls of a broker take."""

from __future__ import annotations

import re
from collections import Counter
from functools import cache
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar

from asynq.protocol.ops import Archive, Complete, Dequeue, Done, Requeue, Retry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from asynq.clock import Clock
    from asynq.errors import AsynqError
    from asynq.monitoring.recorder import Recorder
    from asynq.protocol.broker import Broker, Capabilities, Listener, Watcher
    from asynq.protocol.ops import Op

    RecordCall = Callable[[str, Mapping[str, int], float, str], None]

T = TypeVar("T")

_SETTLEMENTS = frozenset({Done, Complete, Retry, Archive, Requeue})


class TimedBroker:
    """A broker whose calls are recorded. It is pickled as the broker itself.

    Args:
        broker: the broker.
        recorder: told of each call.
    """

    def __init__(self, broker: Broker, recorder: Recorder) -> None:
        self._broker = broker
        self._record = recorder.broker_called

    @property
    def capabilities(self) -> Capabilities:
        """See Broker."""
        return self._broker.capabilities

    @property
    def clock(self) -> Clock | None:
        """See Broker."""
        return self._broker.clock

    def listener(self) -> Listener:
        """See Broker."""
        return self._broker.listener()

    def watcher(self) -> Watcher:
        """See Broker."""
        return self._broker.watcher()

    def close(self) -> None:
        """See Broker."""
        self._broker.close()

    async def aclose(self) -> None:
        """See Broker."""
        await self._broker.aclose()

    def execute(self, op: Op[T], /) -> T:
        """See Broker."""
        with _Call(self._record, (op,)):
            return self._broker.execute(op)

    def execute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        with _Call(self._record, ops):
            return self._broker.execute_many(ops)

    async def aexecute(self, op: Op[T], /) -> T:
        """See Broker."""
        with _Call(self._record, (op,)):
            return await self._broker.aexecute(op)

    async def aexecute_many(self, ops: Sequence[Op[T]], /) -> list[T | AsynqError]:
        """See Broker."""
        with _Call(self._record, ops):
            return await self._broker.aexecute_many(ops)

    def __repr__(self) -> str:
        return repr(self._broker)

    def __reduce__(self) -> tuple[Any, tuple[Broker]]:
        return _itself, (self._broker,)


class _Call:
    """The time of one call."""

    def __init__(self, record: RecordCall, ops: Sequence[Op[Any]]) -> None:
        self._record = record
        self._ops = ops

    def __enter__(self) -> None:
        self._began = perf_counter()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        seconds = perf_counter() - self._began
        kinds = Counter([type(op) for op in self._ops])
        operations = {operation_name(each): number for each, number in kinds.items()}
        self._record(_call_name(kinds), operations, seconds, "" if kind is None else kind.__name__)


@cache
def operation_name(kind: type[Op[Any]]) -> str:
    """The name of an operation in metrics: ListLostLeases is list_lost_leases."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def _call_name(kinds: Mapping[type[Op[Any]], int]) -> str:
    settles = not _SETTLEMENTS.isdisjoint(kinds)
    others = kinds.keys() - _SETTLEMENTS
    if not others:
        return "settle" if settles else "none"
    if settles:
        return "exchange" if others == {Dequeue} else "several"
    return operation_name(next(iter(others))) if len(others) == 1 else "several"


def _itself(broker: Broker) -> Broker:
    return broker
