"""Operations for inspection: the history and the memory of a queue, and the store itself."""

from __future__ import annotations

from typing import ClassVar

from asynq.protocol.broker_info import BrokerInfo
from asynq.protocol.history import DayStats
from asynq.protocol.ops.base import Op


class GetHistory(Op[tuple[DayStats, ...]], frozen=True, kw_only=True):
    """Runs of the last `days` days (UTC), today first. A day without runs has zeros. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str
    days: int = 30
    """From 1 to 90: the history of older days is not kept."""

    def __post_init__(self) -> None:
        if not 1 <= self.days <= 90:
            raise ValueError(f"days must be between 1 and 90; it is {self.days}")


class GetMemory(Op[int], frozen=True, kw_only=True):
    """An estimate of the bytes a queue occupies, from a bounded sample of its tasks. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str


class DescribeBroker(Op[BrokerInfo], frozen=True, kw_only=True):
    """What the store is, how it is doing, and which node holds each of these queues, listed or not.

    Asks each node once. A node that does not answer is reported as such; BrokerUnavailable if none does.
    """

    read_only: ClassVar[bool] = True
    queues: tuple[str, ...] = ()
