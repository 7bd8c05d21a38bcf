"""Real stores, with workers in their own processes."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from asynq.protocol.connect import connect
from asynq.protocol.ops import GetQueueStats
from tests.faults.contents import Contents, redis_contents, sqlite_contents
from tests.faults.processes import Workers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq.protocol.broker import Broker
    from tests.servers import RedisServer


@frozen
class Site:
    """A store that several processes share."""

    url: str
    broker: Broker
    """A new broker for the test."""
    server: RedisServer | None = None
    """The server, if the store is a Redis server."""

    def size(self, queue: str = "default") -> int:
        """Number of tasks of a queue in all states."""
        return self.broker.execute(GetQueueStats(queue=queue)).size

    def contents(self, queue: str = "default") -> Contents:
        """The stored data of a queue. To be read while no process uses it."""
        if self.server:
            return redis_contents(self.server, queue)
        return sqlite_contents(Path(self.url.removeprefix("sqlite:///")), queue)


@contextmanager
def opened(url: str, server: RedisServer | None = None) -> Iterator[Site]:
    """The broker at a URL, within the context."""
    broker = connect(url)
    yield Site(url, broker, server)
    broker.close()


@pytest.fixture(params=["sqlite", "redis"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """An empty store of each kind."""
    server: RedisServer | None = None
    if request.param == "redis":
        server = request.getfixturevalue("redis_server")
    with opened(server.url if server else f"sqlite:///{tmp_path / 'tasks.db'}", server) as site:
        yield site


@pytest.fixture
def workers(site: Site, tmp_path: Path) -> Iterator[Workers]:
    """Workers on that store."""
    workers = Workers(site.url, tmp_path)
    yield workers
    workers.close()
