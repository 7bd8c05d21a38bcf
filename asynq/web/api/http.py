"""From a request to an endpoint, and from its answer, or an error, to a response."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response
from starlette.routing import Route

from asynq.errors import AsynqError
from asynq.web.api.errors import RequestError, described, error_body
from asynq.web.api.table import ENDPOINTS
from asynq.web.call import WebCall
from asynq.web.names import decode_name
from asynq.web.security.authentication import USER
from asynq.web.security.bodies import BODY
from asynq.web.security.csrf import TOKEN

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from asynq.web.api.endpoint import Endpoint
    from asynq.web.services import Services

_JSON = "application/json"


def call_of(request: Request) -> WebCall:
    """The call that a request makes."""
    web: Services = request.app.state.web
    return WebCall(web=web, user=request.scope[USER], csrf_token=request.scope[TOKEN])


def routes() -> list[Route]:
    """A route for each endpoint, below "/api"."""
    return [
        Route(f"/api{each.path}", _answering(each), methods=[each.method], name=each.name)
        for each in ENDPOINTS.values()
    ]


def _answering(endpoint: Endpoint[Any, Any]) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        try:
            call = call_of(request)
            endpoint.check_rights(
                call
            )  # before the body is looked at: what is wrong in it is not their concern
            value = await endpoint(call, asked_of(request, endpoint))
        except (AsynqError, RequestError, ValueError) as error:
            return error_response(error)
        if value is None:
            return Response(status_code=204)
        return Response(msgspec.json.encode(value), getattr(value, "http_status", 200), media_type=_JSON)

    return answer


def error_response(error: Exception) -> Response:
    """The response for an error."""
    status, code, message, facts, headers = described(error)
    return Response(error_body(code, message, facts), status, headers, _JSON)


def error_status(status: int) -> Response:
    """The response for an error of which only the status is known."""
    phrase = HTTPStatus(status).phrase.lower()
    return Response(error_body(phrase.replace(" ", "_"), phrase), status, media_type=_JSON)


def asked_of(request: Request, endpoint: Endpoint[Any, Any]) -> Any:
    """What a request asks. RequestError if that is malformed."""
    try:
        values = {name: _path_value(name, value) for name, value in request.path_params.items()}
    except ValueError as error:
        raise RequestError(404, "not_found", str(error)) from None
    for name, value in request.query_params.multi_items():
        if name in values:
            raise RequestError(400, "invalid_request", f"the parameter {name!r} is given twice")
        values[name] = value
    try:
        given = _fields(msgspec.convert(values, endpoint.parameters, strict=False))
        if endpoint.body is not None:
            given |= _fields(_body(request, endpoint.body))
        return endpoint.asked(**given)
    except (msgspec.ValidationError, msgspec.DecodeError, ValueError) as error:
        raise RequestError(400, "invalid_request", str(error)) from None


def _path_value(name: str, value: str) -> str:
    return value if name == "state" else decode_name(value)


def _body(request: Request, shape: type[msgspec.Struct]) -> msgspec.Struct:
    body = request.scope[BODY]
    if body:
        given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if given != _JSON:
            raise RequestError(415, "unsupported_media_type", f"the body must be {_JSON}")
    asked = msgspec.json.decode(body or b"{}", type=shape)
    if body:
        json.loads(body, object_pairs_hook=_each_once)
    return asked


def _each_once(members: list[tuple[str, Any]]) -> None:
    """Refuse an object that has a member twice: programs differ in which one they take."""
    names = [name for name, _ in members]
    if len(set(names)) < len(names):
        raise ValueError("the body has a member twice")


def _fields(value: msgspec.Struct) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__struct_fields__}
