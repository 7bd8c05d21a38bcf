"""Clients that send slowly, and those that never read, against a real server."""

from __future__ import annotations

import socket
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import httpx2
import pytest
import uvicorn

from asynq.web import create_app, serve, slow_clients
from asynq_sqlite import MemoryBroker
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = b"POST /api/queues/mail:pause HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """The address of a server that is impatient."""
    monkeypatch.setattr(slow_clients, "HEAD_TIMEOUT", 0.3)
    broker = MemoryBroker()
    bound = serve.bind("127.0.0.1", 0)
    config = uvicorn.Config(
        create_app(broker, body_timeout=0.3), http=slow_clients.ImpatientProtocol, log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    eventually(lambda: server.started)
    host, port = bound.getsockname()
    yield host, port
    server.should_exit = True
    thread.join()
    bound.close()
    broker.close()


def answer_to(address: tuple[str, int], sent: bytes) -> bytes:
    """All that the server says until it closes the connection."""
    with closing(socket.create_connection(address, timeout=20)) as connection:
        connection.sendall(sent)
        received = b""
        while part := connection.recv(65536):
            received += part
        return received


@pytest.mark.parametrize("sent", [b"", b"GET / HT", HEAD, HEAD + b"X: " + b"x" * 70_000])
def test_a_head_that_is_not_finished_ends_the_connection(address: tuple[str, int], sent: bytes) -> None:
    received = answer_to(address, sent)
    assert received == b"" or received.startswith(b"HTTP/1.1 400 ")


def test_so_does_one_after_an_answer(address: tuple[str, int]) -> None:
    whole = b"GET /static/theme.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
    received = answer_to(address, whole + b"GET / HT")
    assert received.count(b"HTTP/1.1 200 OK") == 1


def test_a_body_that_is_not_finished_ends_the_request(address: tuple[str, int]) -> None:
    received = answer_to(address, HEAD + b"\r\n{")
    assert received.startswith(b"HTTP/1.1 408 ")
    assert b"body_too_slow" in received


def test_an_answer_may_take_longer(address: tuple[str, int]) -> None:
    base = f"http://localhost:{address[1]}"
    with httpx2.stream("GET", f"{base}/api/live", timeout=20) as stream:
        events = (line for line in stream.iter_lines() if line == "event: overview")
        next(events)
        received = answer_to(address, b"GET / HT")
        assert received == b"", "meanwhile the time for a head has passed"
        assert not stream.is_closed
    assert httpx2.get(f"{base}/api/health").status_code == 200
