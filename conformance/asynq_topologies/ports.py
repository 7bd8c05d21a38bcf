"""Loopback ports nobody listens on now."""

from __future__ import annotations

import random
import socket

BUS = 10_000
"""How far the port of a cluster's bus lies above that for clients."""


def free_port() -> int:
    """Any such port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def free_cluster_ports(count: int) -> list[int]:
    """Ports whose bus ports are free too; both lie outside the range a kernel hands out by itself."""
    found: list[int] = []
    for port in random.sample(range(20_000, 22_700), 2_700):
        if all(_is_free(one) for one in (port, port + BUS)):
            found.append(port)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports for a cluster")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
