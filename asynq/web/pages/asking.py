"""What the address of a page asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.errors import RequestError
from asynq.web.names import decode_name

if TYPE_CHECKING:
    from starlette.requests import Request


def path_name(request: Request, parameter: str) -> str:
    """A name in the path. RequestError if it is none."""
    try:
        return decode_name(request.path_params[parameter])
    except ValueError as error:
        raise RequestError(404, "not_found", str(error)) from None


def given(request: Request) -> dict[str, str]:
    """The parameters of the query; of one that is given twice, the last."""
    return dict(request.query_params.multi_items())
