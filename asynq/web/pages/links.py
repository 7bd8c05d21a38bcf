"""`Links`: addresses of pages, of the API and of static files."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from attrs import frozen

from asynq.web.names import encode_name
from asynq.web.static_files import version_of

if TYPE_CHECKING:
    from collections.abc import Mapping


MAX_ADDRESS = 16_000
"""Characters of an address. Servers and proxies refuse longer ones than they like."""


TOO_LONG = "too-long"
"""The page where addresses lead that would be longer."""


class Address(str):
    """An address, which is never cut: it would lead elsewhere."""

    __slots__ = ()


@frozen
class Links:
    """Addresses below a root path."""

    root_path: str

    def __call__(self, *segments: str, **query: object) -> Address:
        """The address of a page: each segment may be any name. Parameters that are None are left out.

        What would be too long for an address leads to a page that says so.
        """
        names = (*segments, *(value for value in query.values() if isinstance(value, str)))
        if sum(map(len, names)) <= MAX_ADDRESS:
            path = "/".join(map(encode_name, segments))
            address = f"{self.root_path}/{path}{_query(query)}"
            if len(address) <= MAX_ADDRESS:
                return Address(address)
        return Address(f"{self.root_path}/{TOO_LONG}")

    def api(self, path: str, **query: object) -> Address:
        """An address of the API, such as "/queues"."""
        return Address(f"{self.root_path}/api{path}{_query(query)}")

    def static(self, name: str) -> str:
        """The address of a static file, which changes with the file."""
        return f"{self.root_path}/static/{name}?v={version_of(name)}"

    def is_own(self, path: str) -> bool:
        """Whether a text is the path of one of our pages, so that a form may lead there."""
        local = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
        return local and "\\" not in path and (path + "/").startswith(self.root_path + "/")

    def own(self, path: str) -> Address | None:
        """The address of one of our pages that a text is; None if it is none."""
        return Address(path) if self.is_own(path) else None


def _query(query: Mapping[str, object]) -> str:
    given = {name: value for name, value in query.items() if value is not None}
    return f"?{urlencode(given, doseq=True)}" if given else ""
