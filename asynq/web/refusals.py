"""Answers to requests that are refused before they reach an endpoint or a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, Response

from asynq.web.api.errors import error_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope


def refusal(
    scope: Scope, status: int, code: str, reason: str, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """The response with an error: JSON to users of the API, text to others."""
    response: Response
    if is_api(scope):
        response = Response(error_body(code, reason), status, media_type="application/json")
    else:
        response = PlainTextResponse(f"{reason[:1].upper()}{reason[1:]}.\n", status)
    for name, value in headers:
        response.headers.append(name, value)
    return response


def is_api(scope: Scope) -> bool:
    """Whether a request is for the JSON API."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return bool(path == "/api" or path.startswith("/api/"))
