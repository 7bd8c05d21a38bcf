"""An asynq broker on LMDB: tasks in one file, for any number of processes of one machine."""

from __future__ import annotations

from asynq.protocol.connect import path_of
from asynq_lmdb.broker import LmdbBroker as LmdbBroker


def connect(url: str) -> LmdbBroker:
    """Return the broker of `lmdb:///tasks.lmdb` (a relative path) or `lmdb:////var/tasks.lmdb`."""
    return LmdbBroker(path_of(url))
