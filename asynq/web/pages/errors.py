"""Errors as pages, or as JSON for users of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from asynq.errors import AsynqError, BrokerUnavailable, TaskNotFoundError
from asynq.web.api.errors import RequestError, described
from asynq.web.api.http import call_of, error_response, error_status
from asynq.web.pages.rendering import page
from asynq.web.refusals import is_api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response


_TITLES = {
    403: "You may not do this",
    404: "Nothing is here",
    503: "The broker does not answer",
}
_HINTS = {
    "read_only": "It was started to be looked at only. Another one, without --read-only, changes things.",
    "not_an_operator": "Ask an operator, or sign in as one.",
}
"""What to do about an error, by its code."""


async def too_long_page(request: Request) -> Response:
    """Where addresses lead that would be too long."""
    message = "its name is too long for an address: use the command line, or the library"
    return _page(request, 404, message, {})


async def _http_error(request: Request, error: Exception) -> Response:
    """An address that does not exist, or a method that it does not have."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    if is_api(request.scope):
        response = error_status(status)
        response.headers.update(headers)
        return response
    message = "there is no such page" if status == 404 else "this page cannot be asked so"
    return _page(request, status, message, headers)


async def _error(request: Request, error: Exception) -> Response:
    """An error that an endpoint raised while a page asked it."""
    return error_response(error) if is_api(request.scope) else error_page(request, error)


def error_page(request: Request, error: Exception, back: str = "") -> Response:
    """The page that says what went wrong, with a way out of it: to the page `back`, if given."""
    status, _, message, _, headers = described(error)
    queue, hint = "", _HINTS.get(getattr(error, "code", ""), "")
    if isinstance(error, TaskNotFoundError):
        queue, hint = error.queue, "Tasks without a retention are deleted when they are completed."
    elif isinstance(error, BrokerUnavailable):
        hint = "Workers and clients wait for it and go on by themselves. The command asynq broker tests it."
    return _page(request, status, message, headers, queue=queue, hint=hint, back=back)


def _page(
    request: Request,
    status: int,
    message: str,
    headers: Mapping[str, str],
    *,
    queue: str = "",
    hint: str = "",
    back: str = "",
) -> Response:
    return page(
        request,
        call_of(request),
        "error.html",
        status=status,
        headers=headers,
        title=_TITLES.get(status, "This did not work"),
        message=message.rstrip("."),
        again=status == 503 and request.method == "GET",
        hint=hint,
        queue=queue,
        back=back,
    )


HANDLERS: dict[Any, Any] = {
    HTTPException: _http_error,
    AsynqError: _error,
    RequestError: _error,
    ValueError: _error,
}
