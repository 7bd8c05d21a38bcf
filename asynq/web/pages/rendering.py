"""Renders templates. Everything is escaped."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

import asynq
from asynq.web.pages import formats
from asynq.web.pages.links import Links

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from asynq.web.call import WebCall


@cache
def templates() -> Environment:
    """The templates, with the filters for what they show."""
    environment = Environment(
        loader=PackageLoader("asynq.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": formats.ago,
        "bytes": formats.bytes_text,
        "count": formats.count,
        "duration": formats.duration,
        "iso": formats.iso,
        "percent": formats.percent,
        "rate": formats.rate,
    }
    environment.globals["version"] = asynq.__version__
    return environment


def render(template: str, links: Links, **context: Any) -> str:
    """The text of a template."""
    return templates().get_template(template).render(links=links, **context)


def page(
    request: Request,
    call: WebCall,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """The response with a page. `call` and `links` are known to each template."""
    links = links_of(request)
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return HTMLResponse(render(template, links, call=call, here=here, **context), status, headers)


def links_of(request: Request) -> Links:
    """The links of the pages that a request is for."""
    return Links(request.scope.get("root_path", ""))


def wants_part(request: Request) -> bool:
    """Whether htmx asks for a part of a page."""
    return request.headers.get("hx-request") == "true"
