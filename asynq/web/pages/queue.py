"""A queue: its figures, its last days, and its tasks by state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from asynq.task_state import TaskState
from asynq.web.api.errors import converted
from asynq.web.api.groups import list_groups
from asynq.web.api.http import call_of
from asynq.web.api.queues import OneQueue, get_queue
from asynq.web.api.shapes import queue_snapshot, utc_now
from asynq.web.api.tasks import ListedTasks, Size, list_tasks, online_servers, tasks_of
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.overview import last_rates, unserved_queues
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.protocol.presence import ServerInfo
    from asynq.web.api.queues import QueueDetail
    from asynq.web.api.shapes import QueueSnapshot
    from asynq.web.call import WebCall
    from asynq.web.live.rates import RatedOverview
    from asynq.web.pages.links import Links

TABS = (
    TaskState.ACTIVE,
    TaskState.PENDING,
    TaskState.AGGREGATING,
    TaskState.SCHEDULED,
    TaskState.RETRY,
    TaskState.ARCHIVED,
    TaskState.COMPLETED,
)
CONDITIONS = ("type", "payload", "error", "older_than", "newer_than")
"""Names of the fields of a filter."""
ORDERS = {
    "pending": ("next to run first", "last to run first"),
    "scheduled": ("due first", "due last"),
    "retry": ("due first", "due last"),
    "archived": ("oldest first", "newest first"),
    "completed": ("deleted next first", "deleted last first"),
}
"""What the two ends of a state are. Active tasks and those of a group are in no order that can be turned."""
PAGE_SIZE = 50


class ShownTasks(ListedTasks, frozen=True, kw_only=True):
    """The tasks that a page shows."""

    size: Size = PAGE_SIZE


@frozen
class StateActions:
    """What may be done to tasks of a state, by the last words of the names of the endpoints."""

    run: bool = True
    archive: bool = True
    delete: bool = True
    reschedule: bool = False
    cancel: bool = False


ACTIONS = {
    TaskState.ACTIVE: StateActions(run=False, archive=False, delete=False, cancel=True),
    TaskState.PENDING: StateActions(run=False),
    TaskState.AGGREGATING: StateActions(),
    TaskState.SCHEDULED: StateActions(reschedule=True),
    TaskState.RETRY: StateActions(reschedule=True),
    TaskState.ARCHIVED: StateActions(archive=False),
    TaskState.COMPLETED: StateActions(archive=False),
}


async def queue_page(request: Request) -> Response:
    """The page, with one tab: the one that is asked for, or the first that has tasks."""
    call = call_of(request)
    name = path_name(request, "queue")
    detail = await get_queue(call, OneQueue(queue=name))
    asked = given(request)
    wanted = asked.get("state")
    state = TaskState(wanted) if wanted in set(TaskState) else _first_state(detail.current)
    listed = _listed(name, state, asked)
    servers = await online_servers(call)
    figures = {
        "queue": detail.current,
        "rate": last_rates(call).rates.get(name),
        "days": _days(detail),
        "unserved": set() if servers is None else unserved_queues([detail.current], servers),
    }
    return page(
        request,
        call,
        "queue.html",
        stream=links_of(request)("live", "queue", queue=name, **query_of(listed), offset=listed.offset),
        **{**await tasks_context(call, listed, detail.current, servers), **figures},
        tabs=TABS,
        orders=ORDERS,
        conditions={each: getattr(listed, each) or "" for each in CONDITIONS},
    )


def figures_context(read: RatedOverview, listed: ShownTasks) -> dict[str, Any] | None:
    """The figures of a queue and the counts of its tabs; None if it does not exist any more.

    They are those of the overview, so that they cost the broker nothing. The memory and the last days are not
    among them.
    """
    info = next((each for each in read.overview.queues if each.queue == listed.queue), None)
    if info is None:
        return None
    queue = queue_snapshot(info, utc_now())
    return {
        "queue": queue,
        "unserved": unserved_queues([queue], read.overview.servers),
        "rate": read.rates.get(listed.queue),
        "days": None,
        "state": listed.state,
        "tabs": TABS,
    }


async def tasks_context(
    call: WebCall,
    listed: ShownTasks,
    known: QueueSnapshot | None = None,
    servers: tuple[ServerInfo, ...] | None = None,
) -> dict[str, Any]:
    """The table of the tasks, or that of the groups.

    Args:
        call: The call.
        listed: What it lists.
        known: The sizes of the queue, if they were read.
        servers: The servers that were read with them.
    """
    groups = tasks = None
    if listed.state is TaskState.AGGREGATING and listed.group is None:
        groups = await list_groups(call, OneQueue(queue=listed.queue))
        queue = groups.stats
    else:
        tasks = await (tasks_of(call, listed, known, servers) if known else list_tasks(call, listed))
        queue = tasks.stats
    return {
        "queue": queue,
        "state": listed.state,
        "actions": ACTIONS[listed.state],
        "filtered": any(getattr(listed, each) for each in CONDITIONS),
        "groups": groups,
        "group": listed.group,
        "order": listed.order,
        "tasks": tasks,
        "offset": listed.offset or 0,
        "this": query_of(listed),
    }


def queue_address(links: Links, listed: ShownTasks) -> str:
    """The address of the page."""
    return links("queues", listed.queue, **query_of(listed), offset=listed.offset)


def query_of(listed: ShownTasks) -> dict[str, str]:
    """The query of a page, without where it begins."""
    given = {name: getattr(listed, name) for name in (*CONDITIONS, "group")}
    if listed.order != "asc":
        given["order"] = listed.order
    if listed.size != PAGE_SIZE:
        given["size"] = str(listed.size)
    return {"state": listed.state.value} | {name: text for name, text in given.items() if text is not None}


def _first_state(current: QueueSnapshot) -> TaskState:
    return next((each for each in TABS if getattr(current, each)), TaskState.PENDING)


def _listed(queue: str, state: TaskState, asked: dict[str, str]) -> ShownTasks:
    """What the table lists. Aggregating tasks without a group stand for the groups themselves."""
    fields = {"queue": queue, "state": state.value}
    fields |= {each: asked[each] for each in (*CONDITIONS, "offset", "size") if asked.get(each)}
    if state is not TaskState.AGGREGATING and asked.get("order"):
        fields["order"] = asked["order"]
    if state is TaskState.AGGREGATING and "group" in asked:
        fields["group"] = asked["group"]
    return converted(fields, ShownTasks)


def _days(detail: QueueDetail) -> list[tuple[str, int, int]]:
    """Oldest first."""
    return [(day.date, day.succeeded, day.failed) for day in reversed(detail.history)]
