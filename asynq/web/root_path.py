"""The path below which a proxy shows the interface."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


class RootPathMiddleware:
    """Sets the root path of requests, whether the proxy removes it from their path or not."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root_path = root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on with its root path."""
        if scope["type"] == "http":
            mounted, path = scope.get("root_path", ""), scope["path"]
            root = mounted + self._root_path
            if path != root and not path.startswith(root + "/"):
                path = root + path.removeprefix(mounted)
            scope = {**scope, "root_path": root, "path": path}
        await self._app(scope, receive, send)


def check_root_path(path: str) -> str:
    """The path without a slash at its end. ValueError if it is none."""
    shown = path.rstrip("/")
    if shown and not re.fullmatch(r"(/[\w-]+)+", shown, re.ASCII):
        raise ValueError(f"root_path must be a path such as /asynq; it is {path!r}")
    return shown
