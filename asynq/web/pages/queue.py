"""A queue: its figures, its last days, and its tasks by state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from attrs import frozen

from asynq.task_state import TaskState
from asynq.web.api.errors import RequestError
from asynq.web.api.groups import Groups, list_groups
from asynq.web.api.http import call_of
from asynq.web.api.queues import OneQueue, get_queue
from asynq.web.api.tasks import ListedTasks, tasks_of
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.rendering import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.api.queues import QueueDetail
    from asynq.web.api.shapes import QueueSnapshot

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
    groups = await list_groups(call, OneQueue(queue=name)) if state is TaskState.AGGREGATING else None
    listed = _listed(name, state, asked, groups)
    tasks = await tasks_of(call, listed, detail.current) if listed is not None else None
    return page(
        request,
        call,
        "queue.html",
        detail=detail,
        days=_days(detail),
        state=state,
        tabs=TABS,
        actions=ACTIONS[state],
        conditions={each: asked.get(each) or "" for each in CONDITIONS},
        filtered=any(asked.get(each) for each in CONDITIONS),
        groups=groups,
        group=asked.get("group") if groups is not None else None,
        order=asked.get("order", "asc"),
        tasks=tasks,
        offset=listed.offset or 0 if listed is not None else 0,
        size=listed.size if listed is not None else 0,
        shown_from=asked.get("offset"),
        this=_query(asked, state),
    )


def _first_state(current: QueueSnapshot) -> TaskState:
    return next((each for each in TABS if getattr(current, each)), TaskState.PENDING)


def _listed(queue: str, state: TaskState, asked: dict[str, str], groups: Groups | None) -> ListedTasks | None:
    """What the table lists; None for the groups themselves."""
    if groups is not None and "group" not in asked:
        return None
    fields: dict[str, str] = {"queue": queue, "state": state.value, "size": asked.get("size", "50")}
    wanted = (*CONDITIONS, "offset", *(("group",) if groups is not None else ("order",)))
    fields |= {each: asked[each] for each in wanted if asked.get(each)}
    try:
        return msgspec.convert(fields, ListedTasks, strict=False)
    except msgspec.ValidationError as error:
        raise RequestError(400, "invalid_request", str(error)) from None


def _days(detail: QueueDetail) -> list[tuple[str, int, int]]:
    """Oldest first."""
    return [(day.date, day.succeeded, day.failed) for day in reversed(detail.history)]


def _query(asked: dict[str, str], state: TaskState) -> dict[str, str]:
    """The query of this page, without where it begins."""
    kept = {name: value for name, value in asked.items() if name not in ("offset", "done") and value}
    return kept | {"state": state.value}
