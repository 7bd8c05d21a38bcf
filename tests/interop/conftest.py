"""Go and Python on one real broker: a standalone server, and a cluster of three primaries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from attrs import frozen
from redis.crc import key_slot

from tests.interop import toolchain
from tests.interop.go_side import GoSide
from tests.interop.python_side import PythonSide
from tests.interop.sides import Programs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import redis

    from asynq_topologies import Topology
    from tests.interop.sides import Side
    from tests.servers import RedisServer


HERE = Path(__file__).parent
LIMIT = 900
"""Seconds for a test, the first build of a Go program included."""


def pytest_configure(config: pytest.Config) -> None:
    """Declare the mark of tests that wait for a lease of Go to end."""
    config.addinivalue_line("markers", "slow: waits one minute or more; `-m 'not slow'` leaves it out")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder time to build a Go program, and spread those that only wait."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT))
    slow = [item for item in items if item.get_closest_marker("slow")]
    items[:] = [item for item in items if item not in slow]
    for number, item in enumerate(slow):
        items.insert(number * len(items) // len(slow), item)


@pytest.fixture(scope="session")
def programs_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of a run put what they build: the same for all."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if base.name.startswith("popen-") else base
    directory = shared / "go-programs"
    directory.mkdir(exist_ok=True)
    return directory


@pytest.fixture(scope="session")
def peer_program(programs_directory: Path) -> Path:
    """The Go program that is client, worker, scheduler and inspector."""
    return toolchain.build(toolchain.PEER, programs_directory)


@frozen
class Place:
    """A broker that both languages share."""

    url: str
    servers: tuple[redis.Redis, ...]
    """Clients of all that take writes."""
    client_of: Callable[[str], redis.Redis]
    """The client of the server that has a key."""

    def keys(self, pattern: str) -> list[str]:
        """The keys on all servers that match."""
        return sorted(key.decode() for server in self.servers for key in server.scan_iter(pattern))


@pytest.fixture(params=["standalone", "cluster"])
def place(request: pytest.FixtureRequest, peer_program: Path) -> Place:
    """An empty broker of each kind."""
    if request.param == "standalone":
        server: RedisServer = request.getfixturevalue("redis_server")
        return Place(server.url, (server.client,), lambda _: server.client)
    topology: Topology = request.getfixturevalue("cluster")
    clients = tuple(node.client for node in topology.primaries())
    return Place(topology.url, clients, lambda key: topology.primary_of(key).client)


@pytest.fixture
def programs(place: Place, peer_program: Path, tmp_path: Path) -> Iterator[Programs]:
    """The programs of one test."""
    programs = Programs(place.url, peer_program, tmp_path)
    yield programs
    programs.close()


@pytest.fixture
def go(programs: Programs) -> GoSide:
    """Go asynq on the broker."""
    return GoSide(programs)


@pytest.fixture
def python(programs: Programs) -> Iterator[PythonSide]:
    """This library on the broker."""
    side = PythonSide(programs)
    yield side
    side.close()


@pytest.fixture(params=["go to python", "python to go"])
def direction(request: pytest.FixtureRequest, go: GoSide, python: PythonSide) -> tuple[Side, Side]:
    """Who begins, and who goes on with it."""
    return (go, python) if request.param == "go to python" else (python, go)


@pytest.fixture
def here(direction: tuple[Side, Side]) -> Side:
    """The side that begins."""
    return direction[0]


@pytest.fixture
def there(direction: tuple[Side, Side]) -> Side:
    """The side that goes on with it."""
    return direction[1]


def slot_of(queue: str) -> int:
    """The slot of a queue's keys in a cluster."""
    return key_slot(f"asynq:{{{queue}}}:pending".encode())
