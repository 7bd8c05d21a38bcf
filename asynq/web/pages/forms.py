"""Forms of the pages: what they ask, and how one that was refused is shown again."""

from __future__ import annotations

import json
import typing
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from attrs import frozen
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.routing import Match, Route

from asynq.errors import AsynqError
from asynq.web.api.errors import RequestError, converted, described
from asynq.web.security.csrf import TOKEN_FIELD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.responses import Response

    from asynq.web.api.endpoint import Endpoint

NEXT = "next"
"""The field with the page to go on to."""
FORM = "form"
"""The field with the address of the page that has the form."""
SHOWN = "shown_"
"""Begins the name of a field with the digest of what another one showed. One that still holds that is as if
not given, so that what others changed meanwhile stays. Any other text is given, even an empty one."""
WAS_JSON = "was_json"
"""A field that is there if the payload was JSON before."""
NO_JSON = "no_json"
"""A field that is there if the payload may be any text, although it was JSON before."""
REFUSED = "asynq.refused"
"""Key of a scope: what was refused of the form that the page shows."""

_PAGES = frozenset({"/confirm/{action}", "/queues/{queue}/tasks/{task_id}/edit", "/schedules/edit"})
"""Pages with forms."""


@frozen(kw_only=True)
class Refused:
    """A form that was refused."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str]
    fields: Mapping[str, str]
    """What was filled in."""


def digest(text: str) -> str:
    """What the field of `SHOWN` holds of a text."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def asked_by(action: Endpoint[Any, Any], fields: Iterable[tuple[str, str]]) -> Any:
    """What the fields of a form ask. Those that are empty and not required are as if not given.

    RequestError if they ask nothing that there is.
    """
    given = [(name, value) for name, value in fields if name not in (NEXT, FORM, TOKEN_FIELD)]
    texts = dict(given)
    shown = {name.removeprefix(SHOWN): value for name, value in given if name.startswith(SHOWN)}
    shapes = {each.name: each for each in msgspec.structs.fields(action.asked)}
    values: dict[str, Any] = {}
    for name, value in given:
        shape = shapes.get(name)
        if name in (WAS_JSON, NO_JSON) or name.startswith(SHOWN):
            continue
        if digest(value) == shown.get(name):
            continue
        if not value and name not in shown and shape is not None and not shape.required:
            continue
        if shape is not None and _is_list(shape.type):
            values.setdefault(name, []).append(value)
        elif name in values:
            raise RequestError(400, "invalid_request", f"the field {name!r} is given twice")
        else:
            values[name] = value
    if WAS_JSON in texts and NO_JSON not in texts and "payload" in values:
        _check_json(values["payload"])
    return converted(values, action.asked)


async def shown_again(
    request: Request, error: Exception, fields: Iterable[tuple[str, str]]
) -> Response | None:
    """The page of a form that was refused, with what was filled in and why. None if it cannot be shown."""
    status, code, message, _, headers = described(error)
    kept = {name: value for name, value in fields if name not in (NEXT, TOKEN_FIELD)}
    refused = Refused(status=status, code=code, message=message, headers=headers, fields=kept)
    try:
        address = urlsplit(kept.get(FORM, ""))
        asked = {"method": "GET", "path": address.path, "query_string": address.query.encode()}
        scope = {**request.scope, **asked, REFUSED: refused}
        for route in request.app.routes:
            if isinstance(route, Route) and route.path in _PAGES:
                match, found = route.matches(scope)
                if match is Match.FULL:
                    page: Response = await route.endpoint(Request({**scope, **found}))
                    return page
    except (AsynqError, RequestError, HTTPException, ValueError):
        pass  # What the form is about is gone, or the broker is away: the error says so, without its form.
    return None


def _check_json(text: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        why = f"the payload was JSON and is none any more: {error.msg.removesuffix(' at')} at {where}"
        raise RequestError(400, "no_json", why) from None
    except (ValueError, RecursionError) as error:
        raise RequestError(400, "no_json", f"the payload is no JSON that can be read: {error}") from None


def _is_list(shape: Any) -> bool:
    """Whether a field takes several values."""
    if typing.get_origin(shape) is typing.Annotated:
        shape = typing.get_args(shape)[0]
    return typing.get_origin(shape) in (list, tuple)
