"""Errors as pages, or as JSON for users of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from asynq.errors import AsynqError
from asynq.web.api.errors import RequestError, described
from asynq.web.api.http import call_of, error_response, error_status
from asynq.web.pages.rendering import page
from asynq.web.refusals import is_api

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def _http_error(request: Request, error: Exception) -> Response:
    """An address that does not exist, or a method that it does not have."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(getattr(error, "headers", None) or {})
    if is_api(request.scope):
        response = error_status(status)
        response.headers.update(headers)
        return response
    message = "there is no such page" if status == 404 else "this page cannot be asked so"
    call = call_of(request)
    return page(request, call, "error.html", status=status, headers=headers, message=message)


async def _error(request: Request, error: Exception) -> Response:
    """An error that an endpoint raised while a page asked it."""
    if is_api(request.scope):
        return error_response(error)
    status, _, message, _, headers = described(error)
    call = call_of(request)
    return page(request, call, "error.html", status=status, headers=headers, message=message)


HANDLERS: dict[Any, Any] = {HTTPException: _http_error, AsynqError: _error, RequestError: _error}
