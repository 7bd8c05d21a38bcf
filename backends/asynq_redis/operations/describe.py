"""DescribeBroker: the servers of the store, and which of them holds a queue."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import redis
from attrs import field, frozen
from msgspec.structs import replace

from asynq.protocol.broker_info import BrokerInfo, BrokerNode, QueuePlace
from asynq.protocol.ops import DescribeBroker
from asynq_redis.operations.execution import implements, per_operation
from asynq_redis.transport.cluster import SLOTS, slot_of
from asynq_redis.transport.redis_errors import NoAnswer
from asynq_redis.transport.requests import Command
from asynq_redis.transport.server_facts import QUERIES, facts_of, takes_snapshots, warnings
from asynq_redis.url import Address
from asynq_redis.wire.keys import QueueKeys

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asynq.protocol.broker_info import NodeRole
    from asynq_redis.operations.execution import CallContext, Steps
    from asynq_redis.transport.requests import Request

_ALONE = "it is a read-only replica{of}; give the address of the primary, or a redis-sentinel:// URL"


@frozen
class _Server:
    """A server with its answers, or an error in place of them."""

    address: str
    facts: Mapping[str, str]
    snapshots: bool | None
    error: str = ""
    reachable: bool = True
    slots: tuple[tuple[int, int], ...] = ()
    copies: Mapping[str, str] = field(factory=dict)
    """Of a cluster: each replica's address by its names, also of replicas that are not connected."""


def _describe(op: DescribeBroker, context: CallContext) -> Steps[Any]:
    if context.clustered:
        return (yield from _cluster(op, context))
    replies = yield [Command(query) for query in QUERIES]
    router = context.router
    server = _server(str(router.primary) if router else "", replies)
    sentinels = router.sentinels if router else {}
    nodes = [
        *_nodes(server),
        *(
            BrokerNode(address=str(address), role="sentinel", reachable=answered)
            for address, answered in sentinels.items()
        ),
    ]
    warned = _warnings([server], context, expects_replica=bool(sentinels))
    warned += [f"the sentinel at {node.address} does not answer" for node in nodes if not node.reachable]
    replicas = _replicas_of(server, nodes)
    places = [QueuePlace(queue=name, node=server.address, replicas=replicas) for name in op.queues]
    topology = "sentinel" if sentinels else "standalone"
    return _info([server], nodes, topology=topology, places=tuple(places), warnings=tuple(warned))


def _cluster(op: DescribeBroker, context: CallContext) -> Steps[Any]:
    ranges, state = yield [Command(("CLUSTER", "SLOTS")), Command(("CLUSTER", "INFO"), best_effort=True)]
    if isinstance(ranges, redis.RedisError):
        return ranges
    slots: dict[str, list[tuple[int, int]]] = {}
    copies: dict[str, dict[str, str]] = {}
    for first, last, primary, *replicas in sorted(ranges, key=lambda each: int(each[0])):
        slots.setdefault(_address(primary), []).append((first, last))
        names = {name: _address(replica) for replica in replicas for name in _names(replica)}
        copies.setdefault(_address(primary), {}).update(names)
    # One shard that does not answer must not hide the others.
    asked: list[Request] = [
        Command(query, slot=held[0][0], best_effort=True) for held in slots.values() for query in QUERIES
    ]
    replies = yield asked
    servers = [
        _server(address, replies[2 * at : 2 * at + 2], slots=tuple(held), copies=copies[address])
        for at, (address, held) in enumerate(slots.items())
    ]
    nodes = [node for server in servers for node in _nodes(server)]
    details = facts_of(state)
    warned = _warnings(servers, context, expects_replica=True)
    if details.get("cluster_state", "ok") != "ok":
        warned.append(f"the state of the cluster is {details['cluster_state']!r}")
    if missing := SLOTS - sum(last - first + 1 for held in slots.values() for first, last in held):
        warned.append(f"{missing} of {SLOTS} slots have no primary, so their queues cannot be used")
    places = tuple(_place(name, servers, nodes) for name in op.queues)
    return _info(servers, nodes, topology="cluster", places=places, warnings=tuple(warned), details=details)


implements(DescribeBroker)(per_operation(_describe))


def _info(servers: Sequence[_Server], nodes: Sequence[BrokerNode], **other: Any) -> BrokerInfo:
    versions = [version for server in servers if (version := _version(server.facts))]
    product = "Valkey" if any("valkey_version" in server.facts for server in servers) else "Redis"
    oldest = min(versions, key=_numbers, default="")
    return BrokerInfo(backend="redis", product=product, version=oldest, nodes=tuple(nodes), **other)


def _server(address: str, replies: Sequence[Any], **other: Any) -> _Server:
    info, save = replies
    error = str(info) if isinstance(info, redis.RedisError) else ""
    reachable = not isinstance(info, NoAnswer)
    return _Server(address, facts_of(info), takes_snapshots(save), error, reachable, **other)


def _nodes(server: _Server) -> Iterable[BrokerNode]:
    """The server, then its replicas as it reports them."""
    facts = server.facts
    role: NodeRole = "replica" if facts.get("role") == "slave" else "primary"
    node = BrokerNode(
        address=server.address,
        role=role,
        reachable=server.reachable,
        error=server.error,
        version=_version(facts),
        uptime=_seconds(facts.get("uptime_in_seconds")),
        slots=server.slots,
        memory_used=_number(facts.get("used_memory")),
        memory_limit=_number(facts.get("maxmemory")) or None,
        eviction=facts.get("maxmemory_policy", ""),
        evicted=_number(facts.get("evicted_keys")),
        persistence=_persistence(server),
        clients=_number(facts.get("connected_clients")),
        details=dict(facts),
    )
    if role == "replica":
        yield replace(
            node,
            primary=str(Address(facts.get("master_host", ""), int(facts.get("master_port", "0")))),
            link="up" if facts.get("master_link_status") == "up" else "down",
            lag=_seconds(facts.get("master_last_io_seconds_ago")),
        )
        return
    yield node
    lines = [
        facts[f"slave{at}"] for at in range(int(facts.get("connected_slaves", "0"))) if f"slave{at}" in facts
    ]
    connected = [_replica(server, line) for line in lines]
    yield from connected
    for address in dict.fromkeys(server.copies.values()):
        if address not in {each.address for each in connected}:
            yield BrokerNode(
                address=address, role="replica", reachable=False, primary=server.address, link="down"
            )


def _replica(server: _Server, line: str) -> BrokerNode:
    """A replica from its line in INFO, such as `ip=10.0.0.2,port=6379,state=online,offset=98,lag=0`."""
    said = dict(part.split("=", 1) for part in line.split(",") if "=" in part)
    written = _number(server.facts.get("master_repl_offset"))
    confirmed = _number(said.get("offset"))
    address = str(Address(said.get("ip", ""), int(said.get("port", "0"))))
    return BrokerNode(
        address=server.copies.get(address, address),
        role="replica",
        primary=server.address,
        link="up" if said.get("state") == "online" else "down",
        lag=_seconds(said.get("lag")),
        lag_bytes=None if written is None or confirmed is None else max(written - confirmed, 0),
        details=said,
    )


def _replicas_of(server: _Server, nodes: Iterable[BrokerNode]) -> tuple[str, ...]:
    return tuple(node.address for node in nodes if node.primary and node.primary == server.address)


def _place(queue: str, servers: Sequence[_Server], nodes: Iterable[BrokerNode]) -> QueuePlace:
    slot = slot_of(QueueKeys(queue).pending)
    for server in servers:
        if any(first <= slot <= last for first, last in server.slots):
            replicas = _replicas_of(server, nodes)
            return QueuePlace(queue=queue, node=server.address, replicas=replicas, slot=slot)
    return QueuePlace(queue=queue, node="", slot=slot)


def _warnings(servers: Sequence[_Server], context: CallContext, *, expects_replica: bool) -> list[str]:
    found: list[str] = []
    for server in servers:
        facts = server.facts
        said = list(
            warnings(
                facts,
                snapshots=server.snapshots,
                min_replicas=context.min_replicas,
                expects_replica=expects_replica,
            )
        )
        if server.error:
            said.append(f"it cannot be asked how it is doing: {server.error}")
        if facts.get("role") == "slave":
            host = facts.get("master_host", "")
            said.append(_ALONE.format(of=f" of {host}:{facts.get('master_port', '')}" if host else ""))
        if facts.get("evicted_keys", "0") != "0":
            said.append(f"it has evicted {facts['evicted_keys']} keys, so tasks may be lost")
        found += (f"Redis at {server.address}: {each}" for each in said)
    return found


def _persistence(server: _Server) -> str:
    if not server.facts:
        return ""
    kinds = ["append-only file"] if server.facts.get("aof_enabled") == "1" else []
    if server.snapshots is None and not kinds:
        return ""
    return " and ".join([*kinds, *(["snapshots"] if server.snapshots else [])]) or "none"


def _version(facts: Mapping[str, str]) -> str:
    return facts.get("valkey_version") or facts.get("redis_version", "")


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _seconds(text: str | None) -> timedelta | None:
    number = _number(text)
    return None if number is None else timedelta(seconds=number)


def _address(node: Sequence[Any]) -> str:
    """The address of a node in a reply to CLUSTER SLOTS. The host may be unknown."""
    host = node[0].decode() if node[0] else "?"
    return str(Address(host, node[1]))


def _names(node: Sequence[Any]) -> Iterable[str]:
    """Its address, and those that it has besides: of a node with a host name also its IP address."""
    yield _address(node)
    for extra in node[3:4]:
        for kind, host in zip(extra[::2], extra[1::2], strict=False):
            if kind in (b"ip", b"hostname") and host:
                yield str(Address(host.decode(), node[1]))
