"""Archived tasks of a queue, by their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.error_groups import FailedTasks, group_errors
from asynq.web.api.http import call_of
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.rendering import page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def error_groups_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    queue = path_name(request, "queue")
    asked = FailedTasks(queue=queue, state="retry" if given(request).get("state") == "retry" else "archived")
    found = await group_errors(call, asked)
    return page(request, call, "error_groups.html", queue=queue, state=asked.state, found=found)
