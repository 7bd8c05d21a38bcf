"""Which server answers which request: what one server, Sentinel and Cluster differ in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from attrs import evolve, frozen

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import redis

    from asynq.runtime.per_loop import LoopState
    from asynq_redis.transport.io import Settings
    from asynq_redis.transport.requests import Request
    from asynq_redis.url import Address

SCOUT_TIMEOUT = 1.0
"""Seconds a server may take to say where the others are: the next one can be asked instead."""


class Topology(Protocol):
    """Finds servers for requests, and finds them anew when they have changed their parts."""

    @property
    def shards(self) -> int:
        """How many servers share the queues, as far as is known."""
        ...

    async def locate(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """For each server, the positions of the requests it is to get, in order.

        Positions that are in no list have no server now. BrokerRefusedError when that will not change.
        """
        ...

    async def homes(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """The servers to listen to, each with those of the queues that live on it."""
        ...

    def doubt(self, address: Address) -> None:
        """This server is in trouble: look before the next request whether another has its part."""
        ...

    def misrouted(self, reply: redis.RedisError) -> bool:
        """True if the reply tells of another server for the request, which gets it next time."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...

    def drop(self, loop: LoopState) -> None:
        """`close`, without waiting; see asynq.runtime.per_loop."""
        ...


@frozen
class Single:
    """One server, known from the start."""

    address: Address
    shards: int = 1

    async def locate(self, requests: Sequence[Request]) -> list[tuple[Address, list[int]]]:
        """See Topology."""
        return [(self.address, list(range(len(requests))))]

    async def homes(self, queues: Iterable[str]) -> dict[Address, list[str]]:
        """See Topology."""
        return {self.address: list(queues)}

    def doubt(self, address: Address) -> None:
        """See Topology: there is no other server."""

    def misrouted(self, reply: redis.RedisError) -> bool:  # noqa: ARG002 - see Topology
        """See Topology: there is no other server."""
        return False

    async def close(self) -> None:
        """See Topology: it holds nothing."""

    def drop(self, loop: LoopState) -> None:
        """See Topology: it holds nothing."""


def scouting(settings: Settings, **differences: Any) -> Settings:
    """Settings for connections that only ask where servers are."""
    return evolve(
        settings,
        connect_timeout=min(settings.connect_timeout, SCOUT_TIMEOUT),
        socket_timeout=min(settings.socket_timeout, SCOUT_TIMEOUT),
        max_connections=1,
        **differences,
    )
