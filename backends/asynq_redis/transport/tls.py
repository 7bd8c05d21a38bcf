"""TLS contexts, cached because loading the certificate authorities takes longer than a handshake.

redis-py creates a context for each connection, on the event loop, and trusts the system's authorities even
if a CA file is given.
"""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import redis.connection as blocking

if TYPE_CHECKING:
    import socket

    from asynq_redis.url import TLS


def context_for(tls: TLS) -> ssl.SSLContext:
    """Return the context for these settings. A renewed certificate file leads to a new context."""
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    return _context(tls, tuple(Path(file).stat().st_mtime_ns for file in files if file))


class TLSConnection(blocking.SSLConnection):
    """A redis-py TLS connection that uses a given context."""

    def __init__(self, *, context: ssl.SSLContext, **options: Any) -> None:
        super().__init__(**options)
        self._context = context

    def _wrap_socket_with_ssl(self, sock: socket.socket) -> ssl.SSLSocket:
        return self._context.wrap_socket(sock, server_hostname=self.host)


@functools.lru_cache(maxsize=8)
def _context(tls: TLS, stamps: tuple[int, ...]) -> ssl.SSLContext:  # noqa: ARG001 - part of the cache's key
    context = ssl.create_default_context(cafile=tls.ca_file)
    if tls.cert_file:
        context.load_cert_chain(tls.cert_file, tls.key_file)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
