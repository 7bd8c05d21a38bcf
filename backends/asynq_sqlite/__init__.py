"""The SQLite backend: a task queue in a file, or in memory."""

from __future__ import annotations

import threading
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from asynq.errors import BrokerURLError
from asynq.protocol.connect import redact_url
from asynq_sqlite.broker import MemoryBroker as MemoryBroker
from asynq_sqlite.broker import SQLiteBroker as SQLiteBroker

_NUMBERS = ("max_size", "max_value_bytes")
"""Options of a URL that are numbers."""
_OPTIONS = frozenset({"create", "durability", *_NUMBERS})

_shared: dict[str, MemoryBroker] = {}
_shared_lock = threading.Lock()


def connect(url: str) -> SQLiteBroker:
    """Return the broker of a URL.

    Args:
        url: `sqlite:///tasks.db`, relative to the working directory, or `sqlite:////var/tasks.db`. The query
            may contain `create=false`, `durability=process`, `max_size=BYTES` and `max_value_bytes=BYTES`:
            see SQLiteBroker.

    Raises:
        BrokerURLError: The URL is malformed.

    """
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc:
        raise _malformed(url, f"it names a host; write sqlite:///{parts.netloc}{path} for a relative path")
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := options.keys() - _OPTIONS or ({parts.fragment} if parts.fragment else set()):
        raise _malformed(
            url,
            f"unknown option {', '.join(map(repr, sorted(unknown)))} (known: {', '.join(sorted(_OPTIONS))})",
        )
    try:
        options |= {name: _bytes(name, options[name]) for name in _NUMBERS if name in options}
        if "create" in options:
            options["create"] = _truth("create", options["create"])
        return SQLiteBroker(path, **options)
    except ValueError as error:
        raise _malformed(url, str(error)) from None


def connect_memory(url: str) -> MemoryBroker:
    """Return the broker of `memory://name`. A process has one broker for each name.

    Raises:
        BrokerURLError: The URL is malformed.

    """
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise _malformed(url, "a memory broker has a name and nothing else: memory://name")
    with _shared_lock:
        if parts.netloc not in _shared:
            _shared[parts.netloc] = MemoryBroker()
        return _shared[parts.netloc]


def _bytes(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be a whole number of bytes, not {text!r}") from None


def _truth(name: str, text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError(f"{name} must be true or false, not {text!r}")
    return text == "true"


def _malformed(url: str, reason: str) -> BrokerURLError:
    return BrokerURLError(redact_url(url), reason)
