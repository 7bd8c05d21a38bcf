"""The OpenAPI document, made of the table of endpoints."""

from __future__ import annotations

from functools import cache
from types import NoneType
from typing import TYPE_CHECKING, Any

import msgspec

import asynq
from asynq.web.api.errors import ErrorAnswer
from asynq.web.api.table import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.web.api.endpoint import Endpoint

_REFERENCE = "#/components/schemas/{name}"
_ERRORS = {
    400: "The request is malformed.",
    401: "Credentials are missing or wrong.",
    403: "The user may not do this, or the request may be another site's.",
    404: "There is no such queue, task or entry.",
    408: "The body did not arrive in time.",
    409: "The state of the task or the queue does not allow it.",
    413: "The body, or a value in it, is too large.",
    414: "The address is too long.",
    415: "The body is not JSON.",
    421: "The host is not one of this server's.",
    429: "Too many bulk actions, or failed logins.",
    500: "An error of the server.",
    501: "The broker does not support this.",
    502: "The broker refused.",
    503: "The broker is unavailable.",
    507: "The broker is full.",
}
_DESCRIPTION = """All queues, tasks, servers and schedules of a broker.

Names in a path that are no plain segment of one, such as `a/b`, `..` or the empty name, and names that begin
with `~`, are written as `~` followed by their UTF-8 in URL-safe base64 without padding."""


@cache
def document() -> Mapping[str, Any]:
    """The document, without servers: paths are relative to where it is read from."""
    endpoints = list(ENDPOINTS.values())
    bodies = {each.body for each in endpoints if each.body is not None}
    types = ({each.answer for each in endpoints} - {NoneType}) | bodies | {ErrorAnswer}
    ordered = sorted(types, key=lambda each: each.__name__)
    schemas, components = msgspec.json.schema_components(ordered, ref_template=_REFERENCE)
    schema_of = dict(zip(ordered, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for each in endpoints:
        paths.setdefault(each.path, {})[each.method.lower()] = _operation(each, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {"title": "asynq", "version": asynq.__version__, "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{}, {"basic": []}, {"bearer": []}],
    }


def _operation(endpoint: Endpoint[Any, Any], schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.description.partition(".")[0],
        "description": endpoint.description,
        "tags": [endpoint.tag],
        "parameters": _parameters(endpoint),
        "responses": _responses(endpoint, schema_of),
    }
    if endpoint.body is not None:
        required = any(each.required for each in msgspec.structs.fields(endpoint.body))
        content = {"application/json": {"schema": schema_of[endpoint.body]}}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _parameters(endpoint: Endpoint[Any, Any]) -> list[dict[str, Any]]:
    _, components = msgspec.json.schema_components([endpoint.parameters], ref_template=_REFERENCE)
    schema = components[endpoint.parameters.__name__]
    found = []
    for name, each in schema["properties"].items():
        in_path = name in endpoint.path_parameters
        shape = _resolved(each, components)
        if in_path and shape.get("type") == "string" and "enum" not in shape:
            # Longer than nothing, and without what separates segments: see `asynq.web.names`.
            shape = {"pattern": "^[A-Za-z0-9._@+-]*[A-Za-z0-9_@+-]$", "minLength": 1} | shape
        parameter = {"name": name, "in": "path" if in_path else "query", "required": in_path}
        found.append(parameter | {"required": in_path or name in schema["required"], "schema": shape})
    return found


def _resolved(schema: dict[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """A schema without references: parameters are described in place."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {key: value for key, value in components[name].items() if key != "title"}
    return schema


def _responses(endpoint: Endpoint[Any, Any], schema_of: Mapping[Any, Any]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if endpoint.answer is NoneType:
        responses["204"] = {"description": "Done."}
    else:
        responses["200"] = _response("Done.", schema_of[endpoint.answer])
    if hasattr(endpoint.answer, "http_status"):
        responses["202"] = _response("It goes on.", schema_of[endpoint.answer])
    for status, text in _ERRORS.items():
        responses[str(status)] = _response(text, schema_of[ErrorAnswer])
    return responses


def _response(text: str, schema: Any) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}
