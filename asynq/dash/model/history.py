"""The runs of the last days, of one queue or of several together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.errors import AsynqError
from asynq.protocol.ops import GetHistory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date

    from asynq.protocol.broker import Broker

MAX_QUEUES = 500
"""Queues whose history is read together: the first ones by name."""


@frozen
class Day:
    """Runs that ended on a day (UTC)."""

    date: date
    processed: int
    failed: int


async def read_history(broker: Broker, queues: Sequence[str], days: int) -> list[Day]:
    """The last days, today first, in one round trip. Queues that cannot be read are left out."""
    if not queues:
        return []
    operations = [GetHistory(queue=queue, days=days) for queue in queues[:MAX_QUEUES]]
    answers = [each for each in await broker.aexecute_many(operations) if not isinstance(each, AsynqError)]
    return [
        Day(same[0].date, sum(day.processed for day in same), sum(day.failed for day in same))
        for same in zip(*answers, strict=True)
    ]
