"""The three Redis brokers: they differ in how they reach servers, in nothing else."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from attrs import evolve

from asynq.errors import BrokerURLError
from asynq.protocol.connect import redact_url
from asynq.protocol.value_sizes import MAX_VALUE_BYTES
from asynq_redis.base_broker import BaseRedisBroker, Config
from asynq_redis.url import Address, Endpoint, read_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asynq.clock import Clock
    from asynq_redis.base_broker import AddressRemap
    from asynq_redis.url import TLS, Kind

_CONNECT, _SOCKET = timedelta(seconds=2), timedelta(seconds=3)
_REPLICATION = timedelta(seconds=1)
_NONE: AddressRemap = MappingProxyType({})


class RedisBroker(BaseRedisBroker):
    """A broker on one Redis server, 6.2 or later (see asynq.protocol.broker.Broker).

    Nothing is connected before the first operation. A request that was surely not applied, or that can be
    sent twice without harm, is sent again for `budget`; after that, and at most the two timeouts later, the
    call ends with BrokerUnavailable.
    """

    def __init__(
        self,
        url: str = "redis://127.0.0.1:6379",
        *,
        username: str | None = None,
        password: str | None = None,
        db: int | None = None,
        tls: TLS | None = None,
        clock: Clock | None = None,
        budget: timedelta = timedelta(seconds=5),
        connect_timeout: timedelta = _CONNECT,
        socket_timeout: timedelta = _SOCKET,
        max_connections: int = 50,
        min_replicas: int | None = None,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int | None = None,
    ) -> None:
        """What is given here goes before what the URL says.

        budget: how long to keep trying. connect_timeout, socket_timeout: for one connection to be made, for
        one reply to come. max_connections: per thread-shared face and per event loop; more callers wait.
        min_replicas: an enqueue or a settlement is answered when so many replicas have it, or else, after
        replication_timeout, by NotReplicatedError: its outcome is unknown. max_value_bytes: most bytes of a
        payload with its headers, and of a result; a larger one is refused. The server's proto-max-bulk-len
        (512 MB unless configured) should be more.
        """
        endpoint = _read(url, "single")
        self._start(
            Config(
                endpoint=evolve(
                    endpoint,
                    username=endpoint.username if username is None else username,
                    password=endpoint.password if password is None else password,
                    db=endpoint.db if db is None else db,
                    tls=endpoint.tls if tls is None else tls,
                ),
                clock=clock,
                budget=budget,
                connect_timeout=connect_timeout,
                socket_timeout=socket_timeout,
                max_connections=max_connections,
                min_replicas=endpoint.min_replicas if min_replicas is None else min_replicas,
                replication_timeout=replication_timeout,
                max_value_bytes=endpoint.max_value_bytes if max_value_bytes is None else max_value_bytes,
            )
        )


class RedisSentinelBroker(BaseRedisBroker):
    """A broker on the Redis server that sentinels call the primary (see asynq.protocol.broker.Broker).

    It follows failovers: a request waits for the new primary within `budget`. The sentinels are asked once a
    second whether the primary still is it, so that one which was only held up is left at once.
    """

    def __init__(
        self,
        sentinels: Sequence[tuple[str, int]],
        *,
        master: str,
        db: int = 0,
        username: str | None = None,
        password: str | None = None,
        sentinel_username: str | None = None,
        sentinel_password: str | None = None,
        tls: TLS | None = None,
        address_remap: AddressRemap = _NONE,
        clock: Clock | None = None,
        budget: timedelta = timedelta(seconds=10),
        connect_timeout: timedelta = _CONNECT,
        socket_timeout: timedelta = _SOCKET,
        max_connections: int = 50,
        min_replicas: int = 0,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """master: the name the sentinels know the primary by. username, password: for the data servers.

        tls: for data servers and sentinels. address_remap: where to reach a server that the sentinels know
        by another host and port. The others as RedisBroker's.
        """
        if not master:
            raise ValueError("master is empty: give the name the sentinels know the primary by")
        endpoint = Endpoint(
            kind="sentinel",
            addresses=_addresses("sentinels", sentinels),
            db=db,
            username=username,
            password=password,
            tls=tls,
            master=master,
            sentinel_username=sentinel_username,
            sentinel_password=sentinel_password,
        )
        self._start(
            Config(
                endpoint=endpoint,
                clock=clock,
                budget=budget,
                connect_timeout=connect_timeout,
                socket_timeout=socket_timeout,
                max_connections=max_connections,
                min_replicas=min_replicas,
                replication_timeout=replication_timeout,
                max_value_bytes=max_value_bytes,
                address_remap=dict(address_remap),
            )
        )


class RedisClusterBroker(BaseRedisBroker):
    """A broker on a Redis Cluster; each queue lives on one of its shards (see asynq.protocol.broker.Broker).

    It follows failovers and slots that move: a request waits for a new primary within `budget`, for a moving
    slot for 30 s. Where an `execute_many` spans shards and one of them cannot be reached, the operations on
    that shard are answered by BrokerUnavailable and all others as usual.
    """

    def __init__(
        self,
        nodes: Sequence[tuple[str, int]],
        *,
        username: str | None = None,
        password: str | None = None,
        tls: TLS | None = None,
        address_remap: AddressRemap = _NONE,
        clock: Clock | None = None,
        budget: timedelta = timedelta(seconds=10),
        connect_timeout: timedelta = _CONNECT,
        socket_timeout: timedelta = _SOCKET,
        max_connections: int = 50,
        min_replicas: int = 0,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """nodes: some of the cluster's, to begin with; they tell of the others.

        address_remap: where to reach a node that the others know by another host and port. The others as
        RedisBroker's.
        """
        endpoint = Endpoint(
            kind="cluster",
            addresses=_addresses("nodes", nodes),
            username=username,
            password=password,
            tls=tls,
        )
        self._start(
            Config(
                endpoint=endpoint,
                clock=clock,
                budget=budget,
                connect_timeout=connect_timeout,
                socket_timeout=socket_timeout,
                max_connections=max_connections,
                min_replicas=min_replicas,
                replication_timeout=replication_timeout,
                max_value_bytes=max_value_bytes,
                address_remap=dict(address_remap),
            )
        )


def connect(url: str, *, clock: Clock | None = None) -> BaseRedisBroker:
    """The broker a URL names, of any of url.SCHEMES. clock: as RedisBroker's."""
    endpoint = read_url(url)
    found = [(address.host, address.port) for address in endpoint.addresses]
    if endpoint.kind == "sentinel":
        return RedisSentinelBroker(
            found,
            master=endpoint.master,
            db=endpoint.db,
            username=endpoint.username,
            password=endpoint.password,
            sentinel_username=endpoint.sentinel_username,
            sentinel_password=endpoint.sentinel_password,
            tls=endpoint.tls,
            clock=clock,
            min_replicas=endpoint.min_replicas,
            max_value_bytes=endpoint.max_value_bytes,
        )
    if endpoint.kind == "cluster":
        return RedisClusterBroker(
            found,
            username=endpoint.username,
            password=endpoint.password,
            tls=endpoint.tls,
            clock=clock,
            min_replicas=endpoint.min_replicas,
            max_value_bytes=endpoint.max_value_bytes,
        )
    return RedisBroker(url, clock=clock)


def _read(url: str, kind: Kind) -> Endpoint:
    endpoint = read_url(url)
    if endpoint.kind != kind:
        raise BrokerURLError(
            redact_url(url), f"it names a {endpoint.kind}, not one Redis server; use asynq.connect"
        )
    return endpoint


def _addresses(option: str, given: Sequence[tuple[str, int]]) -> tuple[Address, ...]:
    if isinstance(given, str) or not all(isinstance(one, tuple | list) and len(one) == 2 for one in given):
        raise TypeError(f"{option} must be pairs of a host and a port, such as [('127.0.0.1', 7000)]")
    if not given:
        raise ValueError(f"{option} is empty: name at least one")
    for host, port in given:
        if not isinstance(host, str) or not isinstance(port, int):
            raise TypeError(f"{option}: {(host, port)!r} is not a host and a port")
        if not host or not 0 < port < 65536:
            raise ValueError(f"{option}: {(host, port)!r} is not a host and a port from 1 to 65535")
    return tuple(Address(host, port) for host, port in given)
