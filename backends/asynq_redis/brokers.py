"""The three Redis brokers. They differ only in how they find their servers."""

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

CONNECT_TIMEOUT, SOCKET_TIMEOUT = timedelta(seconds=2), timedelta(seconds=3)
_REPLICATION = timedelta(seconds=1)
_NONE: AddressRemap = MappingProxyType({})


class RedisBroker(BaseRedisBroker):
    """A broker on one Redis server, 6.2 or later (see asynq.protocol.broker.Broker).

    It connects on the first operation. A request that was certainly not applied, or that is idempotent, is
    retried for `budget`. After that, and at most the two timeouts later, the call raises BrokerUnavailable.

    Arguments override the corresponding parts of the URL.

    Args:
        url: redis://, rediss:// or unix:// URL of the server.
        username: User name.
        password: Password.
        db: Number of the database.
        tls: TLS settings. None: TLS only if the URL asks for it.
        clock: Time source of the broker. None: the scripts use the server's clock.
        budget: How long a call is retried.
        connect_timeout: Timeout for opening a connection.
        socket_timeout: Timeout for one reply.
        max_connections: Maximum connections per server, for all threads together and for each event loop.
            More callers wait.
        min_replicas: Number of replicas that must confirm an enqueue or a settlement.
        replication_timeout: How long to wait for them. After it the operation raises NotReplicatedError, and
            its outcome is unknown.
        max_value_bytes: Maximum bytes of a payload with its headers, and of a result. A larger one is
            refused. The server's proto-max-bulk-len (512 MB by default) should be higher.

    Raises:
        BrokerURLError: The URL is invalid or does not name a single server.
        TypeError: An option has the wrong type.
        ValueError: An option is out of range.
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
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        socket_timeout: timedelta = SOCKET_TIMEOUT,
        max_connections: int = 50,
        min_replicas: int | None = None,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int | None = None,
    ) -> None:
        """Make a broker. See the class for the arguments."""
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
    """A broker on the primary that Redis Sentinel reports (see asynq.protocol.broker.Broker).

    It follows failovers: a request waits for the new primary for up to `budget`. The broker asks the
    sentinels for the primary once a second, so it soon leaves a former primary that was only paused.

    Args:
        sentinels: Host and port of each sentinel.
        master: Name under which the sentinels monitor the primary.
        db: Number of the database.
        username: User name for the data servers.
        password: Password for the data servers.
        sentinel_username: User name for the sentinels.
        sentinel_password: Password for the sentinels.
        tls: TLS settings for the data servers and the sentinels.
        address_remap: Maps the host and port that the sentinels report for a server to the address at which
            to reach it.
        clock: Time source of the broker. None: the scripts use the server's clock.
        budget: How long a call is retried.
        connect_timeout: Timeout for opening a connection.
        socket_timeout: Timeout for one reply.
        max_connections: Maximum connections per server, for all threads together and for each event loop.
            More callers wait.
        min_replicas: Number of replicas that must confirm an enqueue or a settlement.
        replication_timeout: How long to wait for them. After it the operation raises NotReplicatedError, and
            its outcome is unknown.
        max_value_bytes: Maximum bytes of a payload with its headers, and of a result. A larger one is
            refused. The server's proto-max-bulk-len (512 MB by default) should be higher.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option is out of range, or `sentinels` or `master` is empty.
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
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        socket_timeout: timedelta = SOCKET_TIMEOUT,
        max_connections: int = 50,
        min_replicas: int = 0,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Make a broker. See the class for the arguments."""
        if not master:
            raise ValueError("master is empty: give the name under which the sentinels monitor the primary")
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
    """A broker on a Redis Cluster. Each queue is on one shard (see asynq.protocol.broker.Broker).

    It follows failovers and slot migrations: a request waits for a new primary for up to `budget`, and for a
    moving slot for 30 s. If `execute_many` spans shards and one of them is unreachable, the operations
    on that shard are answered with BrokerUnavailable, and all others as usual.

    Args:
        nodes: Host and port of some nodes of the cluster. They report the others.
        username: User name.
        password: Password.
        tls: TLS settings.
        address_remap: Maps the host and port that the cluster reports for a node to the address at which to
            reach it.
        clock: Time source of the broker. None: the scripts use the server's clock.
        budget: How long a call is retried.
        connect_timeout: Timeout for opening a connection.
        socket_timeout: Timeout for one reply.
        max_connections: Maximum connections per server, for all threads together and for each event loop.
            More callers wait.
        min_replicas: Number of replicas that must confirm an enqueue or a settlement.
        replication_timeout: How long to wait for them. After it the operation raises NotReplicatedError, and
            its outcome is unknown.
        max_value_bytes: Maximum bytes of a payload with its headers, and of a result. A larger one is
            refused. The server's proto-max-bulk-len (512 MB by default) should be higher.

    Raises:
        TypeError: An option has the wrong type.
        ValueError: An option is out of range, or `nodes` is empty.
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
        connect_timeout: timedelta = CONNECT_TIMEOUT,
        socket_timeout: timedelta = SOCKET_TIMEOUT,
        max_connections: int = 50,
        min_replicas: int = 0,
        replication_timeout: timedelta = _REPLICATION,
        max_value_bytes: int = MAX_VALUE_BYTES,
    ) -> None:
        """Make a broker. See the class for the arguments."""
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
    """Make the broker for a URL.

    Args:
        url: A URL with one of url.SCHEMES.
        clock: Time source of the broker. None: the scripts use the server's clock.

    Raises:
        BrokerURLError: The URL is invalid.
    """
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
