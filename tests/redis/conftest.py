"""Fixtures for tests of the Redis backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_redis.operations.execution import HANDLERS
from tests.redis.driver import Driver
from tests.redis.probes import PROBES, AwaitedFace, Face, PlainFace
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[PlainFace, AwaitedFace], ids=["plain", "awaited"])
def face(request: pytest.FixtureRequest) -> Face:
    """Each way of calling a broker: blocking and async."""
    made: Face = request.param()
    return made


@pytest.fixture
def driver(redis_server: RedisServer) -> Driver:
    """Operations on the empty server, without a broker."""
    return Driver(redis_server.client)


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a RedisBroker execute the operations of the tests."""
    for operation, handler in PROBES.items():
        monkeypatch.setitem(HANDLERS, operation, handler)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis server that the test may stop, pause and configure."""
    with RedisServer.start() as server:
        yield server
