"""Inspection: numbers that need more than a look at the present."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from attrs import field, frozen
from attrs.validators import ge, le

from asynq.history import DayStats
from asynq.ops.base import Op

if TYPE_CHECKING:
    from asynq.findings import Finding


@frozen(kw_only=True)
class GetHistory(Op[tuple[DayStats, ...]]):
    """Runs of the last `days` days (UTC), today first, a day without any with zeros. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str
    days: int = field(default=30, validator=[ge(1), le(90)])
    """From 1 to 90: older days are forgotten."""


@frozen(kw_only=True)
class GetMemory(Op[int]):
    """An estimate of the bytes a queue occupies, from a bounded sample of its tasks. QueueNotFoundError."""

    read_only: ClassVar[bool] = True
    queue: str


@frozen(kw_only=True)
class Examined:
    """Answer of Examine."""

    findings: tuple[Finding, ...]
    cursor: str
    """Where to go on; "" when the end was reached."""


@frozen(kw_only=True)
class Examine(Op[Examined]):
    """Look for damage in a bounded part of the store, from `cursor` on; "" to begin.

    With a queue, at what belongs to it; without, at queues nobody listed and at records of processes that
    are gone. `repair` mends each finding if it is still as it was found. A store in use may show what is
    under way as damage when it cannot be told from it; repairing that does no harm. A task that should be
    pending counts as orphaned once the head of its queue was made later.
    """

    queue: str | None = None
    cursor: str = ""
    repair: bool = False
