"""Listen to one server for new tasks and cancellations. A lost connection is reopened."""

from __future__ import annotations

import asyncio
import json
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import redis

from asynq.errors import BrokerUnavailable
from asynq.protocol.broker import CancelRequested, Wake
from asynq.runtime.backoff import Backoff
from asynq.runtime.error_reporter import ErrorReporter
from asynq.runtime.logs import get_logger
from asynq_redis.events import server_warnings
from asynq_redis.events.background_listener import BackgroundListener
from asynq_redis.events.push_connection import PushConnection
from asynq_redis.transport import redis_errors
from asynq_redis.wire.keys import CANCEL_CHANNEL, CANCEL_REQUESTS, QueueKeys

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from random import Random

    from asynq_redis.transport.io import ConnectionSettings
    from asynq_redis.url import Address

KEEPALIVE_INTERVAL = 5.0
"""Seconds without a message after which the server is pinged."""

MAX_PREFIXES = 64
"""Maximum prefixes of one listener. They add about 20 us to every write on the server."""

logger = get_logger("asynq.redis")


class RedisListener(BackgroundListener):
    """A stream of one server's events (see asynq.protocol.broker.Listener).

    A Wake is delivered when a client changes the `pending`, `scheduled`, `retry` or `paused` key of a queue.
    The server reports the changes through client tracking. To take a task from a queue changes `pending`.
    """

    def __init__(
        self,
        address: Address,
        settings: ConnectionSettings,
        rng: Random,
        *,
        keepalive: float = KEEPALIVE_INTERVAL,
        expects_replica: bool = False,
    ) -> None:
        """Make a listener that is not connected yet.

        Args:
            address: The server.
            settings: How to connect.
            rng: Spreads the pauses between reconnects.
            keepalive: Seconds without a message after which the server is pinged.
            expects_replica: Warn if no replica can take over when the server fails.
        """
        super().__init__("asynq-redis-listener")
        self._address = address
        self._settings = settings
        self._keepalive = keepalive
        self._backoff = Backoff(rng, first=0.05, cap=5.0)
        self._errors = ErrorReporter(logger, f"listening to Redis at {address}")
        self._watched: dict[bytes, Wake] = {}
        self._connection: PushConnection | None = None
        self._tracking: asyncio.Future[Any] | None = None
        """The reply to the latest CLIENT TRACKING of this connection."""
        self._expects_replica = expects_replica
        self._checked_server = False

    @property
    def connected(self) -> bool:
        """Whether the listener is connected."""
        return self._connection is not None

    @property
    def live(self) -> bool:
        """See Listener."""
        if self._connection is None or self._tracking is None or not self._tracking.done():
            return False
        return self._tracking.result() == b"OK" and self._connection.responsive(self._keepalive)

    async def arm(self, queues: Sequence[str]) -> None:
        """See Listener. If not connected yet, it returns at once, and a Wake follows once it is armed."""
        watched = {key: wake for queue in queues for key, wake in _wakes(queue)}
        if watched != self._watched:
            self._watched = watched
            if self._connection is not None:
                await self._track(self._connection)
        self._ensure_running()

    async def _run(self) -> None:
        while True:
            try:
                await self._listen_once()
            except redis_errors.CONNECTION_ERRORS as error:
                refusal = redis_errors.connect_refusal(error, self._address)
                self._errors.failed(refusal or BrokerUnavailable(redis_errors.reason(error, self._address)))
            await asyncio.sleep(self._backoff.pause())

    async def _listen_once(self) -> None:
        """Connect and listen until the connection is lost."""
        connection = await PushConnection.open(self._address, self._settings, self._handle_push)
        try:
            for channel in (CANCEL_CHANNEL, CANCEL_REQUESTS):
                connection.send("SUBSCRIBE", channel).add_done_callback(self._confirmed)
            if self._watched:
                self._track(connection).add_done_callback(self._armed)
            self._connection = connection
            if not self._checked_server:
                self._checked_server = True
                least = self._settings.min_replicas
                server_warnings.warn_about_server(
                    connection, self._address, least, expects_replica=self._expects_replica
                )
            await connection.listen(self._keepalive)
        finally:
            self._connection = self._tracking = None
            await connection.close()

    def _track(self, connection: PushConnection) -> asyncio.Future[Any]:
        self._tracking = None
        connection.send("CLIENT", "TRACKING", "OFF")
        if not self._watched:
            return connection.send("PING")
        keys = [key.decode() for key in self._watched]
        prefixes = [word for prefix in _prefixes(keys) for word in ("PREFIX", prefix)]
        self._tracking = tracked = connection.send("CLIENT", "TRACKING", "ON", "BCAST", *prefixes)
        tracked.add_done_callback(self._confirmed)
        return tracked

    def _confirmed(self, reply: asyncio.Future[Any]) -> None:
        answer = reply.result()
        if isinstance(answer, redis.RedisError):
            self._errors.failed(redis_errors.refusal(answer))
        elif answer is not None:
            self._backoff.reset()
            self._errors.worked()

    def _armed(self, reply: asyncio.Future[Any]) -> None:
        # Changes made without a connection were not reported.
        if reply.result() is not None:
            self._put(Wake())

    def _handle_push(self, push: list[Any]) -> None:
        kind, *rest = push
        if kind == b"invalidate":
            # No keys: the database was flushed.
            for key in rest[0] if rest[0] is not None else [None]:
                if (wake := Wake() if key is None else self._watched.get(key)) is not None:
                    self._put(wake)
        elif kind == b"message":
            event = _cancellation(*rest)
            if event is not None:
                self._put(event)


def _wakes(queue: str) -> Iterator[tuple[bytes, Wake]]:
    """The watched keys of a queue, each with the event that a change of it causes."""
    keys = QueueKeys(queue)
    for key in (keys.pending, keys.paused):
        yield key.encode(), Wake(queue, "pending")
    for key in (keys.scheduled, keys.retry):
        yield key.encode(), Wake(queue, "scheduled")


def _prefixes(keys: Collection[str]) -> list[str]:
    """The key prefixes to track: the keys themselves, or their common prefix if there are many.

    The server compares all prefixes on every write of any client, and each pair of prefixes on every arming.
    """
    return _without_extensions(keys) if len(keys) <= MAX_PREFIXES else [_common_prefix(min(keys), max(keys))]


def _common_prefix(low: str, high: str) -> str:
    """The common prefix of two keys, and so of all keys that sort between them."""
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(low, high, strict=False))
    return "".join(one for one, _ in alike)


def _without_extensions(keys: Iterable[str]) -> list[str]:
    """The keys that do not start with another one of them. The server refuses overlapping prefixes."""
    kept: list[str] = []
    for key in sorted(keys):
        if not kept or not key.startswith(kept[-1]):
            kept.append(key)
    return kept


def _cancellation(channel: bytes, message: bytes) -> CancelRequested | None:
    """Parse a message. If it is malformed, log a warning and return None."""
    try:
        if channel == CANCEL_CHANNEL.encode():
            return CancelRequested(message.decode())
        match json.loads(message):
            case {"id": str(task_id), "queue": str() | None as queue, "then": "archive" | "retry" as then}:
                return CancelRequested(task_id, queue, then)
    except (ValueError, RecursionError):
        pass
    logger.warning("ignoring a malformed message on channel %r", channel.decode())
    return None
