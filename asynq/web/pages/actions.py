"""Actions of the pages: any endpoint that changes something, first confirmed, then done.

A form names the endpoint, and its fields are what is asked. So no action is written twice.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec
from starlette.exceptions import HTTPException

from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of
from asynq.web.api.table import ENDPOINTS
from asynq.web.pages.rendering import links_of, page
from asynq.web.security.bodies import BODY
from asynq.web.security.csrf import TOKEN_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.api.endpoint import Endpoint

NEXT = "next"
"""The field with the page to go on to."""


async def confirm_page(request: Request) -> Response:
    """Says what will happen, and asks."""
    action = _action(request)
    fields = list(request.query_params.multi_items())
    following = _following(request, fields)
    asked = _asked(action, fields)
    return page(
        request,
        call_of(request),
        "confirm.html",
        action=action,
        says=action.says(asked),
        fields=[(name, value) for name, value in fields if name != NEXT],
        following=following,
    )


async def do_action(request: Request) -> Response:
    """Does it, and says what was done."""
    action = _action(request)
    fields = parse_qsl(request.scope[BODY].decode("utf-8", "replace"), keep_blank_values=True)
    following = _following(request, fields)
    call = call_of(request)
    asked = _asked(action, [(name, value) for name, value in fields if name != TOKEN_FIELD])
    answer = await action(call, asked)
    return page(
        request,
        call,
        "done.html",
        says=action.says(asked),
        changed=call.noted.changed,
        job=getattr(answer, "job", None),
        following=following,
    )


def _action(request: Request) -> Endpoint[Any, Any]:
    found = ENDPOINTS.get(request.path_params["action"])
    if found is None or not found.changes:
        raise HTTPException(404)
    return found


def _following(request: Request, fields: Iterable[tuple[str, str]]) -> str:
    """The page to go on to: one of ours, whatever the form says."""
    links = links_of(request)
    given = dict(fields).get(NEXT, "")
    return given if links.is_own(given) else links()


def _asked(action: Endpoint[Any, Any], fields: Iterable[tuple[str, str]]) -> Any:
    """What the fields of a form ask. Those that are empty and not required are as if not given."""
    shapes = {each.name: each for each in msgspec.structs.fields(action.asked)}
    values: dict[str, Any] = {}
    for name, value in fields:
        shape = shapes.get(name)
        if name == NEXT or (not value and shape is not None and not shape.required):
            continue
        if shape is not None and typing.get_origin(shape.type) in (list, tuple):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise RequestError(400, "invalid_request", f"the field {name!r} is given twice")
        else:
            values[name] = value
    try:
        return msgspec.convert(values, action.asked, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise RequestError(400, "invalid_request", str(error)) from None
