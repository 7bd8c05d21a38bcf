"""An asynq broker on LMDB: tasks in one file, for any number of processes of one machine."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from asynq.broker import without_secrets
from asynq.errors import BrokerURLError
from asynq_lmdb.broker import LmdbBroker

__all__ = ["LmdbBroker", "connect"]


def connect(url: str) -> LmdbBroker:
    """The broker of `lmdb:///tasks.lmdb` (relative to the working directory) or `lmdb:////var/tasks.lmdb`."""
    parts = urlsplit(url)
    path = unquote(parts.path)[1:]
    if parts.netloc or not path or parts.query or parts.fragment:
        raise BrokerURLError(without_secrets(url), "it is lmdb:/// and the path of a file, nothing else")
    return LmdbBroker(path)
