"""Fixtures for tests of the Redis backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_redis.operations.execution import HANDLERS
from tests.redis.custom_operations import PROBES, AwaitedFace, Face, PlainFace
from tests.redis.script_lab import ScriptLab
from tests.servers import RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(params=[PlainFace, AwaitedFace], ids=["plain", "awaited"])
def face(request: pytest.FixtureRequest) -> Face:
    """Each way of calling a broker: blocking and async."""
    made: Face = request.param()
    return made


@pytest.fixture
def lab(redis_server: RedisServer) -> ScriptLab:
    """Operations on the empty server, without a broker."""
    return ScriptLab(redis_server.client)


@pytest.fixture
def custom_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets a RedisBroker execute the operations of the tests."""
    for operation, handler in PROBES.items():
        monkeypatch.setitem(HANDLERS, operation, handler)


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A Redis server that the test may stop, pause and configure."""
    with RedisServer.start() as server:
        yield server
