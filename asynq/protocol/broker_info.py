"""`BrokerInfo`: what a broker says about its store: version, topology, nodes, memory and where queues are."""

from __future__ import annotations

from datetime import timedelta  # noqa: TC003 - backends read the annotations
from typing import Literal

from msgspec import Struct

Topology = Literal["standalone", "sentinel", "cluster", "embedded"]
"""How the nodes of a store work together. "embedded": the store is a part of the processes that use it."""
NodeRole = Literal["primary", "replica", "sentinel", "file", "memory"]


class BrokerNode(Struct, frozen=True, kw_only=True):
    """One node of a store: a server, a sentinel, a file, or the memory of this process.

    What the store does not say is None, or empty.
    """

    address: str
    """Host and port of a server as it is reached, or as the other servers report it; the path of a file; ""
    in memory."""
    role: NodeRole
    reachable: bool = True
    """Whether the node answered. Of a replica: whether its primary is connected to it."""
    error: str = ""
    """Why nothing more is known of it."""
    version: str = ""
    uptime: timedelta | None = None
    """How long it has been running."""
    primary: str = ""
    """Of a replica: the address of the node that it copies."""
    link: Literal["", "up", "down"] = ""
    """Of a replica: whether it receives what its primary writes."""
    lag: timedelta | None = None
    """Of a replica: how long ago it last heard from its primary, in whole seconds."""
    lag_bytes: int | None = None
    """Of a replica: the bytes of the primary's writes that it has not confirmed yet."""
    slots: tuple[tuple[int, int], ...] = ()
    """Of a primary of a cluster: the first and the last slot of each of its ranges."""
    memory_used: int | None = None
    """Bytes that the data occupy: in memory, or in a file."""
    memory_limit: int | None = None
    """The most bytes that they may occupy; None: there is no limit, or it is unknown."""
    eviction: str = ""
    """What happens to data at the limit, as the store names it: "noeviction" keeps all tasks."""
    evicted: int | None = None
    """Keys that were deleted to make room since the node started. Above zero: tasks may be lost."""
    persistence: str = ""
    """How data survive a restart: "append-only file", "snapshots", both with "and", "file", or "none"."""
    clients: int | None = None
    """Connections of clients."""
    details: dict[str, str] = {}
    """All else that the node reports, under the names that the store uses."""


class QueuePlace(Struct, frozen=True, kw_only=True):
    """Where a queue is stored."""

    queue: str
    node: str
    """Address of the node that takes its writes; "" while there is none, and in memory."""
    replicas: tuple[str, ...] = ()
    """Addresses of the nodes that hold copies."""
    slot: int | None = None
    """The slot of a cluster; None elsewhere."""


class BrokerInfo(Struct, frozen=True, kw_only=True):
    """A store at the time it was read."""

    backend: str
    """As `Capabilities.backend`."""
    product: str
    """What stores the tasks: "Redis", "Valkey", "SQLite", ..."""
    version: str
    """Its version; the lowest one if several nodes report theirs; "" if none does."""
    topology: Topology
    nodes: tuple[BrokerNode, ...]
    """Primaries first, in the order of their slots, each followed by its replicas; sentinels last."""
    places: tuple[QueuePlace, ...] = ()
    """Of the queues that were asked for, in the same order."""
    warnings: tuple[str, ...] = ()
    """What may lose tasks or keep them from running, as sentences for operators."""
    details: dict[str, str] = {}
    """What the store says of itself as a whole."""
