"""Fixtures shared by all tests: real servers, one for each worker process of a run."""

from __future__ import annotations

import gc
import inspect
import os
import signal
import sys
import weakref
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from asynq_conformance.properties import RUN_FACTS
from asynq_redis.base_broker import BaseRedisBroker
from asynq_topologies.engines import EngineError
from asynq_topologies.executables import VERSION
from asynq_topologies.layout import PATIENT_NODE_TIMEOUT
from asynq_topologies.selection import CHOICE, IMAGE, select
from tests.servers import OVERRIDE, RedisServer, start_topology

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from asynq_redis.base_broker import Config
    from asynq_topologies import Topology


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("backends", "which backends tests/conformance runs on")
    group.addoption("--topology", metavar="NAMES", help="only these: sqlite, memory, standalone, ...")
    group.addoption(
        "--other-versions", action="store_true", help="and on other versions of Redis that are found here"
    )
    group.addoption(
        "--redis-version",
        metavar="VERSION",
        help="version of the servers, such as 6.2, 7.4 or 8; with CONFORMANCE_ENGINE=docker also an image",
    )
    group = parser.getgroup("chaos", "the run of tests/faults in which random faults come together")
    group.addoption("--chaos-seconds", type=float, default=10.0, metavar="SECONDS", help="how long it takes")
    group.addoption("--chaos-seed", type=int, metavar="NUMBER", help="repeats a choice of events")


def pytest_configure(config: pytest.Config) -> None:
    """Select the servers of the run. Its worker processes, and commands that tests start, use the same."""
    if config.option.redis_version:
        os.environ[VERSION] = config.option.redis_version
    chosen = os.environ.get(CHOICE)
    os.environ.setdefault(CHOICE, "process")
    try:
        servers = select()
    except (EngineError, ValueError) as error:
        if chosen or config.option.redis_version:
            raise pytest.UsageError(str(error)) from error
        return  # tests that need a server are skipped or fail, and say why
    os.environ[CHOICE] = servers.engine
    if servers.engine == "docker":
        os.environ[IMAGE] = servers.server
        os.environ.pop(VERSION, None)  # tests that need a process take the one of this machine
    if not config.getoption("conformance_brokers", default=None):  # that run is told its servers
        config.stash[RUN_FACTS] = {"servers": str(servers)}


def pytest_report_header(config: pytest.Config) -> list[str]:
    return [f"{name}: {fact}" for name, fact in config.stash.get(RUN_FACTS, {}).items()]


def pytest_collection_finish() -> None:
    """Exempt objects that last for the whole run from garbage collection, which becomes quicker."""
    gc.collect()
    gc.freeze()


# The duration of an example depends on the load of the machine.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")

# A run in the background of a shell ignores SIGINT, and its child processes would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def log_failures(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[BaseException]]:
    """Errors raised while our loggers handled records, such as a malformed format string."""
    failures: list[BaseException] = []
    monkeypatch.setattr("asynq.runtime.logs.tell_failure", failures.append)
    yield failures
    assert failures == []


@pytest.fixture
def redis_brokers(monkeypatch: pytest.MonkeyPatch) -> weakref.WeakSet[BaseRedisBroker]:
    """The brokers that the test has made and still holds."""
    made: weakref.WeakSet[BaseRedisBroker] = weakref.WeakSet()
    start = BaseRedisBroker._start

    def noted(broker: BaseRedisBroker, config: Config) -> None:
        start(broker, config)
        made.add(broker)

    monkeypatch.setattr(BaseRedisBroker, "_start", noted)
    return made


@pytest.fixture
async def awaited_brokers_closed(redis_brokers: weakref.WeakSet[BaseRedisBroker]) -> AsyncIterator[None]:
    """Closes what they have open on the event loop of the test."""
    yield
    for broker in list(redis_brokers):
        await broker.aclose()


@pytest.fixture(autouse=True)
def brokers_closed(
    request: pytest.FixtureRequest, redis_brokers: weakref.WeakSet[BaseRedisBroker]
) -> Iterator[None]:
    """Closes connections of a failing test, which would otherwise be found during another test."""
    if inspect.iscoroutinefunction(getattr(request, "function", None)):
        request.getfixturevalue("awaited_brokers_closed")
    yield
    for broker in list(redis_brokers):
        broker.close()


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """The Redis server of this process, with data of other tests: use `redis_server`."""
    if OVERRIDE in os.environ and os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1") != "1":
        pytest.fail(f"{OVERRIDE} names one server, which tests empty: run them in one process, without -n")
    server = RedisServer.for_tests()
    yield server
    server.stop()


@pytest.fixture
def redis_server(shared_redis: RedisServer) -> RedisServer:
    """An empty Redis server. Tests that stop, pause or configure one start their own."""
    shared_redis.flush()
    return shared_redis


@pytest.fixture(scope="session")
def shared_sentinel() -> Iterator[Topology]:
    """A primary, replicas, sentinels. Tests use `sentinel`; those that break it start their own.

    No primary is replaced, however long a busy machine holds it up.
    """
    with start_topology("sentinel", node_timeout=PATIENT_NODE_TIMEOUT) as topology:
        yield topology


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Topology]:
    """A cluster. Tests use `cluster`; those that break it start their own. As in `shared_sentinel`."""
    with start_topology("cluster", node_timeout=PATIENT_NODE_TIMEOUT) as topology:
        yield topology


@pytest.fixture
def sentinel(shared_sentinel: Topology) -> Topology:
    """An empty store behind sentinels, which stays as it is."""
    shared_sentinel.flush()
    return shared_sentinel


@pytest.fixture
def cluster(shared_cluster: Topology) -> Topology:
    """An empty cluster, which stays as it is."""
    shared_cluster.flush()
    return shared_cluster


@pytest.fixture(params=["sqlite", "redis"])
def shared_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a broker that several processes can share."""
    if request.param == "redis":
        server: str = request.getfixturevalue("redis_server").url
        return server
    return f"sqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Report counts: printed for `pytest -rP`, and as properties in a report."""

    def tell(**figures: object) -> None:
        for name, figure in figures.items():
            record_property(name, figure)
            sys.stdout.write(f"{name.replace('_', ' ')}: {figure}\n")

    return tell
