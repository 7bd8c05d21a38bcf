"""Requests of several writes: each is sent before the next one is composed."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, Enqueued
from asynq.runtime.sync_async import completed
from asynq_redis import RedisBroker
from asynq_redis.transport.links import AwaitedLink, BlockingLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.redis.custom_operations import Face
    from tests.servers import RedisServer

LONG_PAYLOAD = bytes(1024)


def writes_to(server: socket.socket) -> Iterator[bytes]:
    """Two writes. The server receives the first one before the second one exists, and then answers both."""
    yield b"first"
    assert server.recv(100) == b"first"
    server.sendall(b":1\r\n:2\r\n")
    yield b"second"


def test_a_blocking_link_sends_what_is_ready() -> None:
    client, server = socket.socketpair()
    with client, server:
        client.settimeout(5)
        server.settimeout(5)
        replies: list[Any] = []
        link = BlockingLink(SimpleNamespace(_sock=client))
        completed(link.exchange(writes_to(server), 2, replies, 5))
        assert server.recv(100) == b"second"
    assert replies == [1, 2]


async def test_a_link_of_an_event_loop_sends_what_is_ready() -> None:
    client, server = socket.socketpair()
    with server:
        server.settimeout(5)
        _, writer = await asyncio.open_connection(sock=client)
        replies: list[Any] = []
        link = AwaitedLink(SimpleNamespace(_writer=writer))
        await link.exchange(writes_to(server), 2, replies, 5)
        assert server.recv(100) == b"second"
        writer.close()
    assert replies == [1, 2]


def test_a_task_that_cannot_be_composed_fails_the_call_but_not_the_next_one(
    redis_server: RedisServer, face: Face
) -> None:
    broker = RedisBroker(redis_server.url)
    messages = [TaskMessage(id=f"{n}", type="t", queue="q", payload=LONG_PAYLOAD) for n in range(150)]
    valid = [Enqueue(message=message, enqueue_id=f"call {message.id}") for message in messages]
    invalid = replace(valid[-1], message=replace(messages[-1], max_retry=1 << 40))
    with pytest.raises(ValueError, match="range"):
        face.ask(broker, *valid[:-1], invalid)
    # What was sent before was carried out, and is recognised.
    assert all(isinstance(answer, Enqueued) for answer in face.ask(broker, *valid))
    broker.close()
