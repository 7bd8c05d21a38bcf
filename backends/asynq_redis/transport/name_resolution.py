"""Resolve host names on an event loop before connecting.

uvloop resolves a name while it connects. If that is cancelled while the name server does not answer, nothing
retrieves the resolution error, and asyncio logs "Future exception was never retrieved".
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from typing import TYPE_CHECKING, Any

import redis.asyncio.connection as awaited

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable


async def resolve(host: str, port: int) -> list[str]:
    """Return the IP addresses of a host. Can be cancelled without leaving a pending future.

    Raises:
        OSError: The host name cannot be resolved.
    """
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(_address(where) for *_, where in found))
    return [host]


async def open_transport(
    protocol: Callable[[], asyncio.BaseProtocol], host: str, port: int, context: ssl.SSLContext | None
) -> None:
    """Connect to the first address of a host that accepts, with TLS if a context is given."""
    name = None if context is None else host
    connect = asyncio.get_running_loop().create_connection
    *others, last = await resolve(host, port)
    for address in others:
        try:
            await connect(protocol, address, port, ssl=context, server_hostname=name)
        except OSError:
            continue
        return
    await connect(protocol, last, port, ssl=context, server_hostname=name)


class ResolvingConnection(awaited.Connection):
    """A redis-py connection that resolves its host name first."""

    async def _connect(self) -> None:
        name: str = self.host
        *others, last = await resolve(name, self.port)
        try:
            for self.host in others:
                try:
                    await super()._connect()  # type: ignore[no-untyped-call]
                except OSError:
                    continue
                return
            self.host = last
            await super()._connect()  # type: ignore[no-untyped-call]
        finally:
            self.host = name


class ResolvingTLSConnection(ResolvingConnection, awaited.SSLConnection):
    """The same with TLS. The server's certificate must match the host name."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self.ssl_context.context = context
        self._name = self.host

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "server_hostname": self._name}


def _address(where: tuple[Any, ...]) -> str:
    """The IP address of a socket address, with the zone of a link-local address."""
    return f"{where[0]}%{where[3]}" if len(where) == 4 and where[3] else str(where[0])
