"""Renders templates. Everything is escaped."""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse

import asynq
from asynq.runtime import short_texts
from asynq.web.api.table import ENDPOINTS
from asynq.web.pages import charts, formats
from asynq.web.pages.forms import REFUSED, digest
from asynq.web.pages.links import Address, Links

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from asynq.web.audit import AuditEntry
    from asynq.web.call import WebCall

DONE = "done"
"""Parameter of any page: the id in the audit of what the user has just done."""
MADE = "made"
"""Parameter of any page with `DONE`: the address of the task that was enqueued by it."""
NAVIGATION = (
    ("queues", (), "Queues", "q"),
    ("servers", ("servers",), "Servers", "s"),
    ("schedules", ("schedules",), "Schedules", "c"),
    ("series", ("charts",), "Charts", "h"),
    ("broker", ("broker",), "Broker", "b"),
    ("activity", ("activity",), "Activity", "a"),
)
"""Sections: their names, the paths of their first pages, what links to them say, and their keys after "g"."""


MAX_TEXT = 10_000
"""Characters of a value in a page, unless its template escapes it itself. Names may be as long as payloads,
and a page has hundreds of them."""


def _cut(value: object) -> object:
    """A value as it is shown. What a template is to be followed to, such as an address, is no plain text."""
    return f"{value[:MAX_TEXT]}…" if type(value) is str and len(value) > MAX_TEXT else value


@cache
def templates() -> Environment:
    """The templates, with the filters for what they show."""
    environment = Environment(
        loader=PackageLoader("asynq.web"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_cut,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "ago": short_texts.from_now,
        "bytes": short_texts.size,
        "capitalized": formats.capitalized,
        "clock": formats.clock,
        "count": formats.count,
        "duration": formats.duration,
        "digest": digest,
        "field_text": formats.field_text,
        "field_duration": formats.field_duration,
        "highest": formats.highest,
        "iso": short_texts.at,
        "pair_with": formats.pair_with,
        "percent": short_texts.percent,
        "plural": short_texts.plural,
        "rate": formats.rate,
        "since": formats.since,
    }
    environment.tests["shown_whole"] = lambda text: len(text) <= MAX_TEXT
    environment.globals |= {
        "version": asynq.__version__,
        "navigation": NAVIGATION,
        "charts": charts,
        "fields_of": fields_of,
    }
    return environment


def render(template: str, links: Links, **context: Any) -> str:
    """The text of a template."""
    return templates().get_template(template).render(links=links, **context)


def render_block(template: str, block: str, links: Links, **context: Any) -> str:
    """The text of one block of a template. What the template sets outside of the block is unknown in it."""
    found = templates().get_template(template)
    return "".join(found.blocks[block](found.new_context({"links": links, **context})))


def page(
    request: Request,
    call: WebCall,
    template: str,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    stream: str | None = None,
    **context: Any,
) -> HTMLResponse:
    """The response with a page. `call` and `links` are known to each template.

    `stream` is the address of the stream of its live parts.
    """
    links = links_of(request)
    query = urlencode([item for item in request.query_params.multi_items() if item[0] not in (DONE, MADE)])
    here = request.scope["path"] + (f"?{query}" if query else "")
    known = {"call": call, "here": Address(here), "notice": _notice_of(request, call)}
    refused = request.scope.get(REFUSED)
    if refused is not None:
        status, headers = refused.status, refused.headers
    made = request.query_params.get(MADE, "")
    known |= {"made": Address(made) if made.startswith(f"{links('queues')}/") and links.is_own(made) else ""}
    known |= {"refused": refused, "filled_in": {} if refused is None else refused.fields}
    known |= {"stream": stream, "now": int(time.time() * 1000)}
    text = render(template, links, broker=formats.broker_name(call.web.broker), **known, **context)
    return HTMLResponse(text, status, headers)


def links_of(request: Request) -> Links:
    """The links of the pages that a request is for."""
    return Links(request.scope.get("root_path", ""))


def fields_of(action: str, values: Mapping[str, str]) -> dict[str, str]:
    """Those of the values that an endpoint can be asked with."""
    fields = ENDPOINTS[action].asked.__struct_fields__
    return {name: value for name, value in values.items() if name in fields}


def _notice_of(request: Request, call: WebCall) -> AuditEntry | None:
    """What the user did on the page before."""
    done = request.query_params.get(DONE, "")
    entry = call.web.audit.find(int(done)) if done.isdecimal() and len(done) < 16 else None
    return entry if entry is not None and entry.outcome.user == call.user.name else None
