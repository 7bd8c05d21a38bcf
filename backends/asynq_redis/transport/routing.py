"""Routing: which server gets which request. A single server, Sentinel and Cluster differ only in this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import redis

    from asynq.runtime.loop_local import LoopState
    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.transport.requests import Request
    from asynq_redis.url import Address

DISCOVERY_TIMEOUT = 1.0
"""Maximum seconds to wait for one server to name the others, before the next server is asked."""


class Router(Protocol):
    """Finds the server of a request, also after a failover or a slot migration."""

    @property
    def shards(self) -> int:
        """Number of servers that share the queues, as far as known."""
        ...

    @property
    def primary(self) -> Address | None:
        """The server of all queues. None on a Cluster, or if it is not known yet."""
        ...

    @property
    def sentinels(self) -> dict[Address, bool]:
        """The sentinels, and whether each of them answered when it was last asked."""
        ...

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """Return the positions of the requests for each server, in order.

        Positions that are missing have no server at present.

        Raises:
            BrokerRefusedError: No server can be found and a retry will not help.
        """
        ...

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """The servers to listen to, each with its queues."""
        ...

    def suspect(self, address: Address) -> None:
        """Report that a server failed. The next request first checks whether another server replaces it."""
        ...

    def redirected(self, reply: redis.RedisError) -> bool:
        """Whether the reply redirects the request to another server, which then gets it next time."""
        ...

    async def close(self) -> None:
        """Close all connections."""
        ...

    def drop(self, loop: LoopState) -> None:
        """Close all connections without waiting. See asynq.runtime.loop_local.Droppable."""
        ...


@frozen
class SingleServerRouter:
    """One server with a fixed address."""

    address: Address
    shards: int = 1

    @property
    def primary(self) -> Address:
        """See Router."""
        return self.address

    @property
    def sentinels(self) -> dict[Address, bool]:
        """See Router. There are none."""
        return {}

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Router."""
        return [(self.address, list(range(len(requests))))]

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Router."""
        return {self.address: list(queues)}

    def suspect(self, address: Address) -> None:
        """See Router. There is no other server."""

    def redirected(self, reply: redis.RedisError) -> bool:  # noqa: ARG002 - see Router
        """See Router. There is no other server."""
        return False

    async def close(self) -> None:
        """See Router. It has no connections."""

    def drop(self, loop: LoopState) -> None:
        """See Router. It has no connections."""


def discovery_settings(settings: ConnectionSettings, **differences: Any) -> ConnectionSettings:
    """Settings of the connections that only discover servers."""
    return evolve(
        settings,
        connect_timeout=min(settings.connect_timeout, DISCOVERY_TIMEOUT),
        socket_timeout=min(settings.socket_timeout, DISCOVERY_TIMEOUT),
        max_connections=1,
        **differences,
    )
