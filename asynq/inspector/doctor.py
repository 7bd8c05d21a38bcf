"""Doctor: a listing of the damage in a store, and its repair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.checks import check_flag
from asynq.errors import AsynqError, BrokerUnavailable, QueueNotFoundError
from asynq.protocol.ops import Examine, ListQueues
from asynq.runtime.sync_async import Listing, Page

if TYPE_CHECKING:
    from asynq.protocol.doctor import Finding


def doctor(repair: bool = False) -> Listing[Finding]:  # noqa: FBT001, FBT002 - a switch
    """Look for what crashes, evictions and old Go peers leave behind, in small steps; repair it if told to.

    See `Fault` for the kinds of damage and what repairing each means. Servers at work repair what stops
    tasks by themselves; what this finds besides takes up room, or refuses what it should not. A queue that
    cannot be examined does not keep the others from it: its error is raised at the end.
    """
    check_flag("repair", repair)
    yield from _examine(None, repair=repair)
    names: tuple[str, ...] = yield ListQueues()
    failed: list[AsynqError] = []
    for queue in names:
        try:
            yield from _examine(queue, repair=repair)
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


def _examine(queue: str | None, *, repair: bool) -> Listing[Finding]:
    cursor = ""
    while True:
        page = yield Examine(queue=queue, cursor=cursor, repair=repair)
        yield Page(page.findings)
        cursor = page.cursor
        if not cursor:
            return
