"""A Prometheus server that answers what a test tells it to."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


class Prometheus(ThreadingHTTPServer):
    """Answers each query with itself."""

    body: bytes | None = None
    """In place of an answer."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/"


class Answer(BaseHTTPRequestHandler):
    server: Prometheus

    def do_GET(self) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(asked)
        self.send_response(200)
        self.end_headers()
        answer = json.dumps({"status": "success", "data": asked["query"]}).encode()
        self.wfile.write(answer if self.server.body is None else self.server.body)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


def series(*values: str, queue: str = "mail") -> Any:
    """One series of an answer, as Prometheus writes it."""
    return {
        "metric": {"queue": queue},
        "values": [[1000 + place, value] for place, value in enumerate(values)],
    }


@contextmanager
def prometheus_server() -> Iterator[Prometheus]:
    """A server that runs until the end of the block."""
    with Prometheus() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
