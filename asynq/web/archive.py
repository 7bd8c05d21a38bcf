"""What the bound of an archive means for changes of tasks: more than it keeps are deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.errors import QueueNotFoundError
from asynq.protocol.ops import MAX_ARCHIVED, GetQueueStats

if TYPE_CHECKING:
    from asynq.protocol.broker import Broker


async def room_of_archive(broker: Broker, queue: str) -> int:
    """How many tasks can be archived without deleting one."""
    try:
        stats = await broker.aexecute(GetQueueStats(queue=queue))
    except QueueNotFoundError:
        return MAX_ARCHIVED
    return max(0, MAX_ARCHIVED - stats.archived)


def deleted_by_archiving(archived: int, count: int, *, complete: bool = True) -> str:
    """Says what archiving so many tasks would delete; "" if nothing.

    Args:
        archived: How many tasks are in the archive.
        count: How many more are to be archived.
        complete: False if there may be more of them.
    """
    excess = archived + count - MAX_ARCHIVED
    if excess <= 0:
        return ""
    number = f"the {excess:,}" if complete else f"at least the {excess:,}"
    return f"An archive keeps {MAX_ARCHIVED:,} tasks: {number} oldest will be deleted."


def put_back_in_part(count: int, room: int) -> str:
    """Says that an archive has not room for as many tasks as are to be put back; "" if it has."""
    if count <= room:
        return ""
    has = f"keeps {MAX_ARCHIVED:,} tasks and has room for {room:,} of these {count:,}"
    return f"The archive {has}: no more are put back."


def not_put_back(count: int) -> str:
    """Says how many tasks were not put back, for want of room."""
    return f"{count:,} stay pending: the archive keeps {MAX_ARCHIVED:,} tasks and is full"


def gone_from_archive(count: int) -> str:
    """Says how many tasks that were archived are not there any more."""
    return f"{count:,} are gone: deleted, or run, or trimmed by the archive, which keeps {MAX_ARCHIVED:,}"
