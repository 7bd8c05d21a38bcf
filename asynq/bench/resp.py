"""A small blocking Redis client: the benchmark watches a server without the code that it measures."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote, urlsplit

import hiredis

from asynq.bench.errors import BenchError

if TYPE_CHECKING:
    from types import TracebackType

TIMEOUT = 30.0
"""Seconds to wait for a reply."""


class RedisConnection:
    """One connection to the server of a redis:// URL.

    Raises:
        BenchError: the URL cannot be used, or the server cannot be reached.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "redis" or not parts.hostname:
            raise BenchError(f"--broker: use redis://HOST[:PORT][/DB], not a URL of scheme {parts.scheme!r}")
        self.host, self.port = parts.hostname, parts.port or 6379
        self.database = parts.path.strip("/") or "0"
        self.username, self.password = unquote(parts.username or ""), unquote(parts.password or "")
        self._reader = hiredis.Reader()
        try:
            self._socket = socket.create_connection((self.host, self.port), timeout=TIMEOUT)
        except OSError as error:
            raise BenchError(f"no Redis server at {self.host}:{self.port}: {error}") from None
        if self.password:
            self.call("AUTH", *([self.username] if self.username else []), self.password)
        if self.database != "0":
            self.call("SELECT", self.database)

    def call(self, *words: str) -> Any:
        """Send a command and return its reply.

        Raises:
            BenchError: the server replied with an error, or did not reply.
        """
        try:
            self._socket.sendall(hiredis.pack_command(words))  # type: ignore[arg-type]  # its stub: one word
            reply = self.read()
        except OSError as error:
            raise BenchError(f"Redis did not reply to {words[0]}: {error}") from None
        if isinstance(reply, hiredis.ReplyError):
            raise BenchError(f"Redis refused {words[0]}: {reply}")
        return reply

    def read(self, timeout: float = TIMEOUT) -> Any:
        """The next reply or message. Raises OSError if none arrives within `timeout` seconds."""
        self._socket.settimeout(timeout)
        while (reply := self._reader.gets()) is False:
            received = self._socket.recv(65536)
            if not received:
                raise ConnectionError("the server closed the connection")
            self._reader.feed(received)
        return reply

    def info(self, section: str) -> dict[str, str]:
        """The fields of a section of INFO."""
        lines = self.call("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
