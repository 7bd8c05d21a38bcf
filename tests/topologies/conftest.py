"""Topologies that a test may break, and load on them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.redis.custom_operations import AwaitedFace, Face, PlainFace
from tests.servers import start_topology

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asynq_topologies import Topology


@pytest.fixture
def own_sentinel() -> Iterator[Topology]:
    """A primary with replicas and sentinels that the test may break."""
    with start_topology("sentinel") as topology:
        yield topology


@pytest.fixture
def own_cluster() -> Iterator[Topology]:
    """A cluster that the test may break."""
    with start_topology("cluster") as topology:
        yield topology


@pytest.fixture(params=["sentinel", "cluster"])
def own(request: pytest.FixtureRequest) -> Topology:
    """Each kind of topology."""
    topology: Topology = request.getfixturevalue(f"own_{request.param}")
    return topology


def queues_of(topology: Topology) -> list[str]:
    """Names of queues, one on each primary. The first is not on the primary that lists the queues."""
    primaries = {primary.port: "" for primary in topology.primaries()}
    listing = topology.primary_of("asynq:queues").port
    for name in (f"q{number}" for number in range(100)):
        primaries.setdefault(topology.primary_of(f"asynq:{{{name}}}:pending").port, "")
        primaries[topology.primary_of(f"asynq:{{{name}}}:pending").port] = name
        if all(primaries.values()):
            break
    return [name for _, name in sorted(primaries.items(), key=lambda item: item[0] == listing)]


@pytest.fixture(params=[PlainFace, AwaitedFace], ids=["plain", "awaited"])
def face(request: pytest.FixtureRequest) -> Face:
    """Each way of calling a broker."""
    made: Face = request.param()
    return made
