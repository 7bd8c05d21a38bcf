"""`Links`: addresses of pages, of the API and of static files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from attrs import frozen

from asynq.web.names import encode_name
from asynq.web.static_files import version_of

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class Links:
    """Addresses below a root path."""

    root_path: str

    def __call__(self, *segments: str, **query: object) -> str:
        """The address of a page: each segment may be any name. Parameters that are None are left out."""
        path = "/".join(map(encode_name, segments))
        return f"{self.root_path}/{path}{_query(query)}"

    def api(self, path: str, **query: object) -> str:
        """An address of the API, such as "/queues"."""
        return f"{self.root_path}/api{path}{_query(query)}"

    def static(self, name: str) -> str:
        """The address of a static file, which changes with the file."""
        return f"{self.root_path}/static/{name}?v={version_of(name)}"

    def is_own(self, path: str) -> bool:
        """Whether a text is the path of one of our pages, so that a form may lead there."""
        local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
        return local and "\\" not in path and (path + "/").startswith(self.root_path + "/")


def _query(query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""
