"""The parts of pages that are live: a block of the page's template, and the topic that is read for it.

A page and its live parts are rendered by one template with the same context: nothing is written twice.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.web.api.endpoint import Nothing
from asynq.web.api.selection import OneTask
from asynq.web.live.topics import Topic
from asynq.web.pages.activity import ShownJob, activity_context, following_of, job_address, watched_job
from asynq.web.pages.overview import ShownQueues, overview_address, overview_context
from asynq.web.pages.queue import ShownTasks, figures_context, queue_address, tasks_context
from asynq.web.pages.schedules import schedules_context
from asynq.web.pages.servers import servers_context
from asynq.web.pages.task import task_address, task_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from msgspec import Struct

    from asynq.web.call import WebCall
    from asynq.web.pages.links import Links

    Context = dict[str, Any]


@frozen
class LivePart:
    """A block of a page's template. The element around it, and the event, are named as the block."""

    template: str
    block: str
    topic: Callable[[WebCall, Any], Topic]
    """What is read for it, for these parameters of the page. It does not depend on the user."""
    context: Callable[[Any, Any, Links], Context | None]
    """Makes the context of the block of what was read; None if there is nothing to show."""


@frozen
class LivePage:
    """A page with live parts."""

    asked: type[Struct]
    """The parameters of its stream."""
    address: Callable[[Links, Any], str]
    """The address of the page itself."""
    parts: tuple[LivePart, ...]


def _own(template: str, block: str, read: Callable[[WebCall, Any], Awaitable[Context]]) -> LivePart:
    """A part whose topic is its own context."""

    def topic(call: WebCall, asked: Any) -> Topic:
        return Topic((template, block, asked), partial(read, call, asked))

    return LivePart(template, block, topic, lambda value, _asked, _links: value)


def _overview(call: WebCall, _: object) -> Topic:
    return call.web.overview


def _job(call: WebCall, asked: ShownJob) -> Topic:
    return Topic(("job", asked.job_id), partial(watched_job, call, asked))


LIVE_PAGES: dict[str, LivePage] = {
    "overview": LivePage(
        ShownQueues,
        overview_address,
        (
            LivePart(
                "overview.html", "overview", _overview, lambda value, asked, _: overview_context(value, asked)
            ),
        ),
    ),
    "queue": LivePage(
        ShownTasks,
        queue_address,
        (
            LivePart(
                "queue.html", "figures", _overview, lambda value, asked, _: figures_context(value, asked)
            ),
            _own("queue.html", "tasks", tasks_context),
        ),
    ),
    "task": LivePage(OneTask, task_address, (_own("task.html", "task", task_context),)),
    "servers": LivePage(
        Nothing,
        lambda links, _: links("servers"),
        (_own("servers.html", "servers", servers_context),),
    ),
    "schedules": LivePage(
        Nothing,
        lambda links, _: links("schedules"),
        (_own("schedules.html", "schedules", schedules_context),),
    ),
    "activity": LivePage(
        Nothing,
        lambda links, _: links("activity"),
        (_own("activity.html", "activity", activity_context),),
    ),
    "job": LivePage(
        ShownJob,
        job_address,
        (
            LivePart(
                "job.html",
                "job",
                _job,
                lambda value, asked, links: {**value, "following": following_of(links, asked.next)},
            ),
        ),
    ),
}
"""By name, as in the addresses of their streams, /live/NAME."""
