"""Which server answers which request: what one server, Sentinel and Cluster differ in."""

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
"""Seconds a server may take to say where the others are: the next one can be asked instead."""


class Router(Protocol):
    """Finds servers for requests, and finds them anew when they have changed their parts."""

    @property
    def shards(self) -> int:
        """How many servers share the queues, as far as is known."""
        ...

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """For each server, the positions of the requests it is to get, in order.

        Positions that are in no list have no server now. BrokerRefusedError when that will not change.
        """
        ...

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """The servers to listen to, each with those of the queues that live on it."""
        ...

    def suspect(self, address: Address) -> None:
        """This server is in trouble: look before the next request whether another has its part."""
        ...

    def redirected(self, reply: redis.RedisError) -> bool:
        """True if the reply tells of another server for the request, which gets it next time."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...

    def drop(self, loop: LoopState) -> None:
        """`close`, without waiting; see asynq.runtime.loop_local."""
        ...


@frozen
class SingleServerRouter:
    """One server, known from the start."""

    address: Address
    shards: int = 1

    async def route(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Router."""
        return [(self.address, list(range(len(requests))))]

    async def servers_of(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Router."""
        return {self.address: list(queues)}

    def suspect(self, address: Address) -> None:
        """See Router: there is no other server."""

    def redirected(self, reply: redis.RedisError) -> bool:  # noqa: ARG002 - see Router
        """See Router: there is no other server."""
        return False

    async def close(self) -> None:
        """See Router: it holds nothing."""

    def drop(self, loop: LoopState) -> None:
        """See Router: it holds nothing."""


def discovery_settings(settings: ConnectionSettings, **differences: Any) -> ConnectionSettings:
    """ConnectionSettings for connections that only ask where servers are."""
    return evolve(
        settings,
        connect_timeout=min(settings.connect_timeout, DISCOVERY_TIMEOUT),
        socket_timeout=min(settings.socket_timeout, DISCOVERY_TIMEOUT),
        max_connections=1,
        **differences,
    )
