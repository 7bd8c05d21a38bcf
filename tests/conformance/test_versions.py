"""The laws of a broker on the other Redis servers of this machine: with `--other-versions`."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar

import pytest

from asynq_conformance import BrokerConformance
from asynq_redis.harness import RedisHarness
from asynq_topologies.engines import EngineError
from asynq_topologies.executables import find_redis_servers, short_version
from asynq_topologies.selection import select
from tests.servers import OVERRIDE, RedisServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class OtherVersion(BrokerConformance):
    """The laws on another server than that of all other tests."""

    executable: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls) -> Iterator[RedisServer]:
        server = RedisServer.start(executable=cls.executable)
        yield server
        server.stop()

    @pytest.fixture(scope="class")
    @classmethod
    def harness(cls, server: RedisServer) -> Iterator[RedisHarness]:
        with closing(RedisHarness(server.url)) as harness:
            yield harness


def others() -> dict[str, str]:
    """One executable of each version."""
    if OVERRIDE in os.environ:
        return {}
    try:
        usual = ".".join(select().version.split(".")[:2])
    except EngineError:
        return {}
    found = {short_version(executable): executable for executable in reversed(find_redis_servers())}
    return {version: executable for version, executable in sorted(found.items()) if version != usual}


def classes() -> dict[str, type]:
    return {
        name: type(
            name,
            (OtherVersion,),
            {"__module__": __name__, "executable": executable, "column": f"redis {version}"},
        )
        for version, executable in others().items()
        for name in [f"TestRedis{version.replace('.', '_')}"]
    }


globals().update(classes())
