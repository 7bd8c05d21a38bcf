"""Actions of the pages: any endpoint that changes something, first confirmed, then done.

A form names the endpoint, and its fields are what is asked. So no action is written twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode

from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from asynq.errors import AsynqError
from asynq.info import QueueInfo
from asynq.protocol.ops import GetQueueStats
from asynq.web.api.audit import OneAction, undo_preview
from asynq.web.api.bulk import CancelledTasks
from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of
from asynq.web.api.schedules import EnqueuedTask
from asynq.web.api.selection import GroupTasks, SelectedTasks
from asynq.web.api.table import ENDPOINTS
from asynq.web.api.task_copies import CopyAnswer
from asynq.web.api.tasks import SelectedCount, count_tasks
from asynq.web.archive import deleted_by_archiving
from asynq.web.pages.errors import error_page
from asynq.web.pages.forms import NEXT, REFUSED, asked_by, shown_again
from asynq.web.pages.links import Address
from asynq.web.pages.rendering import DONE, MADE, links_of, page
from asynq.web.refusals import asked_at
from asynq.web.security.bodies import BODY

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.api.endpoint import Endpoint
    from asynq.web.call import WebCall

CHOICES: Mapping[str, Mapping[str, str]] = {
    "cancel_task": {"then": "archive"},
    "batch_cancel": {"then": "archive"},
    "cancel_all_tasks": {"then": "archive"},
    "reschedule_all_tasks": {"process_in": "1h"},
    "batch_reschedule": {"process_in": "1h"},
    "delete_queue": {"force": ""},
}
"""Fields that the user still chooses when confirming an action, with their first values."""
_ALL_OF_A_QUEUE = frozenset({"purge_queue", "delete_queue"})
"""Actions of whose queue the confirmation tells the size."""


async def confirm_page(request: Request) -> Response:
    """Says what will happen and to how many tasks, and asks."""
    action = _action(request)
    call = call_of(request)
    fields = list(request.query_params.multi_items())
    following = _following(request, fields)
    choices = dict(CHOICES.get(action.name, {}))
    choices |= {name: value for name, value in fields if name in choices}
    fixed = [(name, value) for name, value in fields if name not in choices and name not in (NEXT, DONE)]
    refused = request.scope.get(REFUSED)
    if refused is None:
        asked = asked_by(action, [*fixed, *choices.items()])
    else:
        asked = asked_by(action, [*fixed, *CHOICES.get(action.name, {}).items()])
        choices = {name: refused.fields.get(name, "") for name in choices}
    queue = await _queue(call, asked)
    preview = await _preview(call, asked)
    undo = await undo_preview(call, asked) if isinstance(asked, OneAction) else None
    return page(
        request,
        call,
        "confirm.html",
        action=action,
        says=f"undo: {undo.what}" if undo else action.says(asked),
        undo=undo,
        preview=preview,
        warning=undo.warning if undo else _warning(action, asked, queue, preview),
        size=queue.size if queue and action.name in _ALL_OF_A_QUEUE else None,
        # Not in hidden fields, where browsers would change the ends of lines in names.
        query=Address(urlencode(fixed)),
        choices=choices,
        following=following,
    )


async def do_action(request: Request) -> Response:
    """Does it, and goes on to the next page, which says what was done."""
    action = _action(request)
    call = call_of(request)
    action.check_rights(call)
    sent = parse_qsl(request.scope[BODY].decode("utf-8", "replace"), keep_blank_values=True)
    filled_in = [_as_written(field) for field in sent]
    fields = [*request.query_params.multi_items(), *filled_in]
    following = _following(request, fields)
    try:
        answer = await action(call, asked_by(action, fields))
    except (AsynqError, RequestError, ValueError) as error:
        again = await shown_again(request, error, filled_in)
        return again or error_page(request, error, asked_at(request.scope) or following)
    links = links_of(request)
    job = getattr(answer, "job", None)
    if job is not None and job.state == "running":
        return RedirectResponse(links("activity", "jobs", job.id, next=following), 303)
    entry = next((each for each in call.web.audit if each.outcome is call.outcome), None)
    if entry is not None:
        told: dict[str, object] = {DONE: entry.id}
        if isinstance(answer, EnqueuedTask | CopyAnswer):
            told[MADE] = links("queues", answer.queue, "tasks", answer.task_id)
        return RedirectResponse(f"{following}{'&' if '?' in following else '?'}{urlencode(told)}", 303)
    return RedirectResponse(following, 303)


def _as_written(field: tuple[str, str]) -> tuple[str, str]:
    """A field of a form. Browsers send the ends of lines of a text as CR LF, whatever they were."""
    name, value = field
    return name, value.replace("\r\n", "\n") if name == "payload" else value


async def _preview(call: WebCall, asked: object) -> SelectedCount | None:
    """How many tasks a bulk action would change; None for other actions."""
    if isinstance(asked, GroupTasks | CancelledTasks):
        asked = asked.selected
    return await count_tasks(call, asked) if isinstance(asked, SelectedTasks) else None


def _warning(
    action: Endpoint[Any, Any], asked: object, queue: QueueInfo | None, preview: SelectedCount | None
) -> str:
    """What the bound of the archive means for an action; "" for nothing."""
    if queue is None or "archive" not in action.name:
        return ""
    if preview is not None:
        count, complete = preview.count, preview.complete
    else:
        count, complete = len(getattr(asked, "task_ids", [asked])), True
    return deleted_by_archiving(queue.archived, count, complete=complete)


async def _queue(call: WebCall, asked: object) -> QueueInfo | None:
    """The queue of an action; None if it is about none. QueueNotFoundError."""
    queue = getattr(asked, "queue", None)
    if queue is None:
        return None
    return QueueInfo.of(await call.web.broker.aexecute(GetQueueStats(queue=queue)), None)


def _action(request: Request) -> Endpoint[Any, Any]:
    found = ENDPOINTS.get(request.path_params["action"])
    if found is None or not found.changes:
        raise HTTPException(404)
    return found


def _following(request: Request, fields: Iterable[tuple[str, str]]) -> Address:
    """The page to go on to: that of the queues if it is none of ours."""
    links = links_of(request)
    return links.own(dict(fields).get(NEXT, "")) or links()
