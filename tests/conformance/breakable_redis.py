"""A harness with its own servers, which a test may break."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from asynq import RedisBroker, RedisClusterBroker, RedisSentinelBroker
from asynq_redis.harness import RedisHarness
from asynq_topologies.layout import MASTER, PATIENT_NODE_TIMEOUT
from asynq_topologies.proxy import Proxy
from tests.servers import start_topology

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from asynq_topologies.layout import TopologyKind
    from asynq_topologies.node import Node


def open_redis(
    kind: TopologyKind,
    addresses: Sequence[Sequence[Any]],
    ports: Mapping[str, int],
    min_replicas: int,
    clock_ahead: float = 0,
) -> Any:
    """Open the broker in any process.

    `ports` maps a server's port to the port at which it is reachable on this machine. `clock_ahead` is the
    error of this process's clock in seconds.
    """
    if clock_ahead:
        set_clock_ahead(clock_ahead)
    where = [(host, port) for host, port in addresses]
    options: dict[str, Any] = {
        "min_replicas": min_replicas,
        "replication_timeout": timedelta(seconds=0.5),
    }
    if kind == "standalone":
        [(host, port)] = where
        return RedisBroker(f"redis://{host}:{ports.get(str(port), port)}", **options)
    options["address_remap"] = {
        ("127.0.0.1", int(known)): ("127.0.0.1", port) for known, port in ports.items()
    }
    if kind == "cluster":
        return RedisClusterBroker(where, **options)
    return RedisSentinelBroker(where, master=MASTER, **options)


def set_clock_ahead(seconds: float) -> None:
    """Move the wall clock of this process ahead."""
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + seconds
    time.time_ns = lambda: right_ns() + int(seconds * 1e9)


class BreakableRedis(RedisHarness):
    """A topology that belongs to one test, with a proxy in front of each server with data.

    Servers replace each other only when a disturbance lets them: what a failover loses, which a busy machine
    causes at another time, would be held against the broker.
    """

    def __init__(self, kind: TopologyKind, *, safe: bool) -> None:
        """With `safe`, enqueues and settlements wait for all replicas."""
        self._safe = safe
        with ExitStack() as stack:
            self.topology = stack.enter_context(start_topology(kind, node_timeout=PATIENT_NODE_TIMEOUT))
            self.proxies = {node.port: stack.enter_context(Proxy(node.port)) for node in self.topology.nodes}
            super().__init__(self.topology.url)
            stack.callback(self.close)
            self._stack = stack.pop_all()

    def factory(self) -> tuple[str, Mapping[str, Any]]:
        topology = self.topology
        known = topology.sentinels or topology.nodes
        replicas = len(topology.replicas_of(topology.primaries()[0])) if self._safe else 0
        return "tests.conformance.breakable_redis:open_redis", {
            "kind": topology.kind,
            "addresses": [node.address for node in known],
            "ports": {str(port): proxy.address[1] for port, proxy in self.proxies.items()},
            "min_replicas": replicas,
        }

    def directory_of(self, node: Node) -> Path:
        """The data directory of a server."""
        return Path(str(node.client.config_get("dir")["dir"]))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
