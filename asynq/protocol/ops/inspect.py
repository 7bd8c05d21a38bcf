"""Operations for inspection: the daily history of a queue and an estimate of its memory."""

from __future__ import annotations

from typing import ClassVar

from attrs import field, frozen
from attrs.validators import ge, le

from asynq.protocol.history import DayStats
from asynq.protocol.ops.base import Op


@frozen(kw_only=True)
class GetHistory(Op[tuple[DayStats, ...]]):
    """Runs of the last `days` days (UTC), today first. A day without runs has zeros. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str
    days: int = field(default=30, validator=[ge(1), le(90)])
    """From 1 to 90: the history of older days is not kept."""


@frozen(kw_only=True)
class GetMemory(Op[int]):
    """An estimate of the bytes a queue occupies, from a bounded sample of its tasks. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str
