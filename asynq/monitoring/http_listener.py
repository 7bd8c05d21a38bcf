"""A small HTTP listener in threads of its own, for health checks and metrics."""

from __future__ import annotations

import socket
import socketserver
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from attrs import frozen

from asynq.runtime.logs import get_logger

log = get_logger("asynq.monitoring")

SHUTDOWN_INTERVAL = 0.1
"""Seconds that closing waits at most for the thread that accepts connections."""
CLIENT_TIMEOUT = 10.0
"""Seconds that a client may take for its request."""

MAX_CLIENTS = 32
"""Clients at the same time, each with a thread. One more takes the place of the one that came first."""


@frozen
class Page:
    """An answer."""

    body: bytes
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200


MakePage = Callable[[Mapping[str, str]], Page]
"""Makes the answer from the headers of a request. Called on any thread."""
Pages = Mapping[str, MakePage]
"""The pages by their paths."""


class HTTPListener:
    """Serves pages to GET and HEAD requests from the moment it is made until it is closed.

    Args:
        host: the address to listen at.
        port: the port; 0 takes any free one.
        pages: the pages by path; everything else is not found.

    Raises:
        OSError: the address cannot be used.
    """

    def __init__(self, host: str, port: int, pages: Pages) -> None:
        self._server = _server_class(host)((host, port), _handler_class(pages))
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(SHUTDOWN_INTERVAL,), name="asynq-http", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        return self._server.server_port

    @property
    def address(self) -> str:
        """Its address in a URL."""
        host = self._server.server_name
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def close(self) -> None:
        """Stop listening. Answers that are being sent are cut off at the end of the process."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = socket.SOMAXCONN

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._clients: dict[Any, None] = {}
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            # Not the new one is refused: it may be a probe, and those that are slow would be served.
            if len(self._clients) >= MAX_CLIENTS:
                first = next(iter(self._clients))
                del self._clients[first]
                with suppress(OSError):
                    first.shutdown(socket.SHUT_RDWR)
            self._clients[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def server_bind(self) -> None:
        # Not that of HTTPServer, which asks the DNS for the name of the host.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - as in the base class
        log.debug("a request from %s failed: %r", client_address, sys.exception())


def _server_class(host: str) -> type[_Server]:
    class Server(_Server):
        address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

    return Server


def _handler_class(pages: Pages) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = CLIENT_TIMEOUT
        server_version = "asynq"
        sys_version = ""

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def _answer(self, *, with_body: bool) -> None:
            page = self._page()
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if with_body:
                self.wfile.write(page.body)

        def _page(self) -> Page:
            page = pages.get(self.path.partition("?")[0])
            if page is None:
                listed = ", ".join(pages)
                return Page(f"not found; there are {listed}\n".encode(), status=404)
            try:
                return page(dict(self.headers.items()))
            except Exception:
                log.exception("the page %s failed", self.path)
                return Page(b"internal error\n", status=500)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the base class
            log.debug("%s: %s", self.address_string(), format % args)

    return Handler
