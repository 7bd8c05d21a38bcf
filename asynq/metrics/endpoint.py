"""An HTTP endpoint for Prometheus, in a thread of its own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from prometheus_client import start_http_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import CollectorRegistry


@contextmanager
def endpoint(registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve the metrics of a registry until the end of the block. Port 0 takes any free one.

    Returns:
        The port.

    Raises:
        OSError: The address cannot be used.
    """
    server, thread = start_http_server(port, addr=host, registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
