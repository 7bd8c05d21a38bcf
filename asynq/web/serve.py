"""Serves the web interface with uvicorn, until a signal stops it."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from asynq.web.slow_clients import ImpatientProtocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.applications import Starlette

GRACE = 5
"""Seconds for which requests under way may go on when the server is stopped."""


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens at an address. Port 0 takes any free one. OSError if it cannot be used."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


def serve(app: Starlette, bound: socket.socket, started: Callable[[], None]) -> None:
    """Answer requests until SIGTERM or SIGINT. Requests are not logged: their addresses name tasks.

    Args:
        app: The application.
        bound: The socket that listens.
        started: Called once signals are handled.
    """
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        access_log=False,
        log_config=None,
        log_level="warning",
        # The address of a client is that of its connection: a header would let anyone choose it.
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
        ws="none",
    )
    server = uvicorn.Server(config)
    for each in (signal.SIGTERM, signal.SIGINT):
        # Uvicorn restores these handlers at its end, and sends itself the signal again: with the default
        # ones, an orderly end would be a death by the signal.
        signal.signal(each, server.handle_exit)
    started()
    server.run([bound])
