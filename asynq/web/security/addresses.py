"""Addresses of clients and proxies: sets of them, and what one of them means."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX = "unix"
"""In place of an address: what connects to a Unix socket."""


class Addresses:
    """A set of addresses and networks, such as "10.0.0.7" or "10.0.0.0/24", and "unix".

    Raises:
        ValueError: One of them is none.
    """

    def __init__(self, given: Iterable[str] = ()) -> None:
        texts = [given] if isinstance(given, str) else list(given)
        self._unix = UNIX in texts
        self._networks = [ipaddress.ip_network(each, strict=False) for each in texts if each != UNIX]

    def __contains__(self, host: str | None) -> bool:
        if host is None:
            return self._unix
        address = address_of(host)
        return address is not None and any(address in network for network in self._networks)


def address_of(host: str) -> Address | None:
    """The address that a text is; None if it is none. An IPv4 address may be written as one of IPv6."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def is_loopback(host: str | None) -> bool:
    """Whether a client is on this machine. A server at a Unix socket has no address of it."""
    address = None if host is None else address_of(host)
    return host is None or (address is not None and address.is_loopback)


def site_of(host: str | None) -> str:
    """The address, or the network of IPv6 that one user has, as a text."""
    address = None if host is None else address_of(host)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return UNIX if address is None else str(address)
