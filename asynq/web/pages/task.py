"""A task: what it is, what happened to it, what will happen next; and the form that changes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asynq.runtime.shown_data import indented
from asynq.task_state import TaskState
from asynq.web.api.http import call_of
from asynq.web.api.selection import OneTask
from asynq.web.api.tasks import TaskID, find_tasks, get_task
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.queue import ACTIONS
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.api.shapes import DataFacts
    from asynq.web.call import WebCall
    from asynq.web.pages.links import Links

EDITABLE = {TaskState.PENDING, TaskState.SCHEDULED, TaskState.RETRY, TaskState.ARCHIVED}
"""States of tasks whose payloads may be changed."""


async def task_page(request: Request) -> Response:
    """The page."""
    call, asked = call_of(request), _one_task(request)
    stream = links_of(request)("live", "task", queue=asked.queue, task_id=asked.task_id)
    return page(request, call, "task.html", stream=stream, **await task_context(call, asked))


async def task_context(call: WebCall, asked: OneTask) -> dict[str, Any]:
    """What the page shows."""
    task = await get_task(call, asked)
    return {
        "task": task,
        "actions": ACTIONS[task.state],
        "editable": task.state in EDITABLE,
        "payload": readable(task.payload, task.payload_facts),
        "result": readable(task.result, task.result_facts) if task.result_facts else None,
        "trace_id": trace_id(task.headers),
    }


def task_address(links: Links, asked: OneTask) -> str:
    """The address of the page."""
    return links("queues", asked.queue, "tasks", asked.task_id)


async def edit_task_page(request: Request) -> Response:
    """The form for another payload or another time, or for a copy of the task."""
    call = call_of(request)
    task = await get_task(call, _one_task(request))
    copies = "copy" in given(request)
    return page(request, call, "edit_task.html", task=task, editable=task.state in EDITABLE, copies=copies)


async def search_page(request: Request) -> Response:
    """The tasks with an id, in all queues."""
    call = call_of(request)
    wanted = given(request).get("id", "").strip()
    found = await find_tasks(call, TaskID(task_id=wanted)) if wanted else None
    return page(request, call, "search.html", wanted=wanted, found=found)


def readable(text: str, facts: DataFacts) -> tuple[str, str]:
    """How data is named, and its text: JSON is indented."""
    if facts.encoding == "hex":
        return "hexadecimal", bytes.fromhex(text).hex(" ")
    json = None if facts.truncated else indented(text)
    return ("text", text) if json is None else ("JSON", json)


def trace_id(headers: dict[str, str]) -> str:
    """The trace of the W3C header; "" if there is none."""
    parts = headers.get("traceparent", "").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else ""


def _one_task(request: Request) -> OneTask:
    return OneTask(queue=path_name(request, "queue"), task_id=path_name(request, "task_id"))
