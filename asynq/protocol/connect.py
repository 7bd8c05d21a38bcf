"""`connect`: from a broker URL to a broker, through the registered backends; URLs with passwords masked."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from asynq.errors import BrokerURLError

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.broker import Broker

ENTRY_POINT_GROUP = "asynq.backends"


def connect(url: str) -> Broker:
    """Create the broker for a URL. It connects at the first operation, not before.

    The scheme selects the backend among the entry points of the group `asynq.backends`; a backend registers
    one `connect(url) -> Broker` for each scheme.

    Args:
        url: URL of the broker, such as "redis://127.0.0.1:6379" or "sqlite:///tasks.db".

    Returns:
        The broker. The caller closes it.

    Raises:
        BrokerURLError: the URL is malformed, or no backend is registered for its scheme. It is a ValueError.
        TypeError: `url` is not a str.
    """
    broker: Broker = load_backend(url)(url)
    return broker


def load_backend(url: str) -> Callable[[str], Broker]:
    """Load the backend for a URL: its function that creates a broker. See `connect`, also for the errors."""
    if not isinstance(url, str):
        raise TypeError(f"a broker URL must be a str, not {type(url).__name__}")
    try:
        scheme = urlsplit(url).scheme
    except ValueError as error:
        raise BrokerURLError(redact_url(url), str(error)) from None
    if not scheme or "://" not in url:
        raise BrokerURLError(redact_url(url), _scheme_hint(url))
    registered = {entry.name: entry for entry in entry_points(group=ENTRY_POINT_GROUP)}
    if scheme not in registered:
        known = ", ".join(sorted(registered)) or "none: is the package installed?"
        raise BrokerURLError(
            redact_url(url), f"no backend is registered for scheme {scheme!r} (known: {known})"
        )
    create: Callable[[str], Broker] = registered[scheme].load()
    return create


def path_of(url: str) -> str:
    """The file of a URL: `scheme:///tasks` is a relative path, `scheme:////var/tasks` an absolute one.

    For the `connect` of a backend without options. Raises BrokerURLError when the URL contains anything else.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or parts.query or parts.fragment:
        raise BrokerURLError(
            redact_url(url), f"it is {parts.scheme}:/// and the path of a file, nothing else"
        )
    return path


def _scheme_hint(url: str) -> str:
    """What is wrong with a URL that has no "://"."""
    scheme, colon, rest = url.partition(":")
    if colon and not rest[:1].isdecimal() and "/" not in scheme:
        slashes = "///" if scheme == "sqlite" else "//"
        return f"after {scheme + ':'!r} comes {slashes!r}; write for example {_EXAMPLES}"
    return f"it has no scheme; write for example {_EXAMPLES}"


_EXAMPLES = "redis://127.0.0.1:6379, or sqlite:///tasks.db for a file"


def redact_url(url: str) -> str:
    """The URL with userinfo masked, and query values that may hold passwords."""
    head, separator, rest = url.partition("://")
    if not separator:
        return "***" if "@" in url else url
    # A password may contain an unescaped "/", "?" or "@", so everything before the last "@" is userinfo.
    if "@" in rest and not rest.startswith("/"):
        rest = f"***@{rest.rpartition('@')[2]}"
    base, question, query = rest.partition("?")
    pairs = (pair.partition("=") for pair in query.split("&"))
    shown = "&".join(
        f"{name}{equals}{'***' if 'password' in name.lower() else value}" for name, equals, value in pairs
    )
    return f"{head}://{base}{question}{shown}"


def resolve(broker: Broker | str) -> tuple[Broker, bool]:
    """The broker that a user passed as an object or a URL, and whether the caller owns it and must close it.

    Raises TypeError for anything else.
    """
    if isinstance(broker, str):
        return connect(broker), True
    if isinstance(broker, type) or not callable(getattr(broker, "execute", None)):
        given = f"the class {broker.__name__}" if isinstance(broker, type) else type(broker).__name__
        raise TypeError(f"broker must be a Broker or a URL, not {given}")
    return broker, False
