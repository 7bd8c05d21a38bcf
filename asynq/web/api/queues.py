"""Queues: their sizes, their history, pausing and deleting them."""

from __future__ import annotations

from types import NoneType
from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.errors import AsynqError
from asynq.protocol.ops import GetHistory
from asynq.web.api.endpoint import Nothing, endpoint
from asynq.web.api.shapes import DailyStats, QueueSnapshot, daily_stats, queue_snapshot, utc_now

if TYPE_CHECKING:
    from asynq.web.call import WebCall

HISTORY_DAYS = 10
STATS_DAYS = 90


class OneQueue(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Names a queue."""

    queue: str


class DeletedQueue(OneQueue, frozen=True, kw_only=True):
    """Names a queue that is to be deleted."""

    force: bool = False
    """Whether its tasks may be deleted with it."""


class Queues(Struct, kw_only=True):
    """All queues, sorted by name."""

    queues: list[QueueSnapshot]
    unreadable: dict[str, str]
    """Why a queue could not be read, by its name."""


class QueueDetail(Struct, kw_only=True):
    """A queue and its last days."""

    current: QueueSnapshot
    history: list[DailyStats]
    """Today (UTC) first."""


class QueueStats(Struct, kw_only=True):
    """The days of all queues."""

    stats: dict[str, list[DailyStats]]
    """By queue, today (UTC) first."""


@endpoint("GET", "/queues", asked=Nothing, answer=Queues)
async def list_queues(call: WebCall, asked: Nothing) -> Queues:
    """All queues with their sizes."""
    overview = await call.web.inspector.overview()
    now = utc_now()
    return Queues(
        queues=[queue_snapshot(info, now) for info in overview.queues],
        unreadable={name: str(error) for name, error in overview.unreadable.items()},
    )


@endpoint("GET", "/queues/{queue}", asked=OneQueue, answer=QueueDetail)
async def get_queue(call: WebCall, asked: OneQueue) -> QueueDetail:
    """One queue with its memory and its last ten days, if the broker counts days."""
    info = await call.web.inspector.queue_info(asked.queue)
    counts = call.web.broker.capabilities.supports(GetHistory)
    history = await call.web.inspector.history(asked.queue, HISTORY_DAYS) if counts else ()
    return QueueDetail(current=queue_snapshot(info, utc_now()), history=[daily_stats(day) for day in history])


@endpoint("GET", "/queue_stats", asked=Nothing, answer=QueueStats)
async def get_queue_stats(call: WebCall, asked: Nothing) -> QueueStats:
    """The last 90 days of all queues."""
    names = await call.web.inspector.queues()
    answers = await call.web.broker.aexecute_many([GetHistory(queue=name, days=STATS_DAYS) for name in names])
    return QueueStats(
        stats={
            name: [daily_stats(day) for day in answer]
            for name, answer in zip(names, answers, strict=True)
            if not isinstance(answer, AsynqError)
        }
    )


@endpoint(
    "POST",
    "/queues/{queue}:pause",
    asked=OneQueue,
    answer=NoneType,
    says=lambda asked: f"pause queue {asked.queue!r}: no task of it starts until it is resumed",
)
async def pause_queue(call: WebCall, asked: OneQueue) -> None:
    """Let nobody take tasks from a queue. All else goes on."""
    if await call.web.inspector.pause(asked.queue):
        call.noted.undo = lambda: call.web.inspector.unpause(asked.queue)


@endpoint(
    "POST",
    "/queues/{queue}:resume",
    asked=OneQueue,
    answer=NoneType,
    says=lambda asked: f"resume queue {asked.queue!r}: its tasks start again",
)
async def resume_queue(call: WebCall, asked: OneQueue) -> None:
    """Let tasks be taken from a queue again."""
    if await call.web.inspector.unpause(asked.queue):
        call.noted.undo = lambda: call.web.inspector.pause(asked.queue)
