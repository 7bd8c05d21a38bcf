"""Answers to requests that are refused before they reach an endpoint or a page."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from asynq.web.api.errors import error_body
from asynq.web.pages.links import Links

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import Scope

_PAGE: Final = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Refused · asynq</title><link rel="stylesheet" href="{styles}"></head>
<body><main><h1>This did not work</h1><p class="problem" role="alert">{reason}</p>{back}</main></body>
</html>
"""


def refusal(
    scope: Scope, status: int, code: str, reason: str, headers: Iterable[tuple[str, str]] = ()
) -> Response:
    """The response with an error: JSON to users of the API, a page to browsers, text to others."""
    sentence = f"{reason[:1].upper()}{reason[1:]}."
    response: Response
    if is_api(scope):
        response = Response(error_body(code, reason), status, media_type="application/json")
    elif "text/html" in Headers(scope=scope).get("accept", ""):
        back = asked_at(scope)
        link = f'<p><a class="button" href="{escape(back)}">Load the page again</a></p>' if back else ""
        styles = Links(scope.get("root_path", "")).static("asynq.css")
        response = HTMLResponse(_PAGE.format(styles=styles, reason=escape(sentence), back=link), status)
    else:
        response = PlainTextResponse(f"{sentence}\n", status)
    for name, value in headers:
        response.headers.append(name, value)
    return response


def is_api(scope: Scope) -> bool:
    """Whether a request is for the JSON API."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    return bool(path == "/api" or path.startswith("/api/"))


def asked_at(scope: Scope) -> str:
    """The page with the form that a browser sent, so that it can be sent again. "" if that is not known."""
    headers = Headers(scope=scope)
    try:
        sent = urlsplit(headers.get("referer", ""))
    except ValueError:
        return ""
    path = sent.path + (f"?{sent.query}" if sent.query else "")
    own = sent.netloc == headers.get("host") and Links(scope.get("root_path", "")).is_own(path)
    return path if own and "/do/" not in path else ""
