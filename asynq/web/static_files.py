"""Static files: style sheets, scripts, images."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from starlette.responses import Response
    from starlette.types import Scope

STATIC = Path(__file__).parent / "static"
_YEAR = 365 * 24 * 3600


class VersionedFiles(StaticFiles):
    """Files that browsers keep if their address says which version they are."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The whole file, whatever range is asked for. HTTPException if there is none."""
        # Starlette before 0.49.1 takes minutes for a header with many ranges.
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        response = await super().get_response(path, {**scope, "headers": headers})
        versioned = "v" in Request(scope).query_params
        cached = f"private, max-age={_YEAR}, immutable" if versioned else "no-cache"
        response.headers["Cache-Control"] = cached
        return response


@cache
def version_of(name: str) -> str:
    """Changes with the contents of a file."""
    return hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
