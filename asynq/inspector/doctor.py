"""Doctor: a listing of the damage in a store, and its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.checks import check_flag
from asynq.errors import AsynqError, BrokerUnavailable, QueueNotFoundError
from asynq.protocol.ops import Examine, ListQueues

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.protocol.doctor import Finding
    from asynq.runtime.sync_async import BrokerCalls


def doctor(
    broker: BrokerCalls,
    repair: bool = False,  # noqa: FBT001, FBT002 - a switch
) -> AsyncGenerator[Finding, None]:
    """Look for what crashes, evictions and old Go peers leave behind, in small steps; repair it if told to.

    See `Fault` for the kinds of damage and what repairing each means. Servers at work repair what stops
    tasks by themselves; what this finds besides takes up room, or refuses what it should not. A queue that
    cannot be examined does not keep the others from it: its error is raised at the end.
    """
    check_flag("repair", repair)
    return _examine_all(broker, repair=repair)


async def _examine_all(broker: BrokerCalls, *, repair: bool) -> AsyncGenerator[Finding, None]:
    async for finding in _examine(broker, None, repair=repair):
        yield finding
    failed: list[AsynqError] = []
    for queue in await broker.execute(ListQueues()):
        try:
            async for finding in _examine(broker, queue, repair=repair):
                yield finding
        except QueueNotFoundError:
            continue
        except BrokerUnavailable:
            raise
        except AsynqError as error:
            error.add_note(f"while queue {queue!r} was examined; the other queues were examined")
            failed.append(error.with_traceback(None))
    if failed:
        try:
            raise failed[0]
        finally:
            del failed


async def _examine(broker: BrokerCalls, queue: str | None, *, repair: bool) -> AsyncGenerator[Finding, None]:
    cursor = ""
    while True:
        page = await broker.execute(Examine(queue=queue, cursor=cursor, repair=repair))
        for finding in page.findings:
            yield finding
        cursor = page.cursor
        if not cursor:
            return
