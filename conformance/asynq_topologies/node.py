"""One server of a topology: what can be done to it, and asked of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from asynq_topologies.layout import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq_topologies.certificates import Certificate
    from asynq_topologies.engines import Host

SERVERS_READY_TIMEOUT = 30.0
"""Seconds within which servers get ready, and what was done to them shows."""


class Node:
    """A server that answers on a loopback port."""

    def __init__(
        self, host: Host, port: int, *, password: str = "", certificate: Certificate | None = None
    ) -> None:
        self.port = port
        self.host = host
        self.client = redis.Redis(
            host=HOST,
            port=port,
            password=password or None,
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
            ssl=certificate is not None,
            ssl_ca_certs=certificate.certificate if certificate else None,
        )
        """A plain client, for what is done behind a broker's back. Replies are bytes."""

    def __repr__(self) -> str:
        return f"Node({self.port})"

    @property
    def address(self) -> tuple[str, int]:
        """Where it answers."""
        return HOST, self.port

    def ask(self, *command: str | int) -> Any:
        """Its reply to a command."""
        return self.client.execute_command(*command)  # type: ignore[no-untyped-call]

    def role(self) -> str:
        """ "master", "slave" or "sentinel"."""
        role: bytes = self.ask("ROLE")[0]
        return role.decode()

    def info(self, section: str) -> dict[str, Any]:
        """What INFO says."""
        found: dict[str, Any] = self.client.info(section)
        return found

    def pause(self) -> None:
        """Stop the process without closing its connections: a server that hangs."""
        self.host.pause()

    def resume(self) -> None:
        """Let a paused server go on."""
        self.host.resume()

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self.host.kill()

    def restart(self) -> None:
        """Start it again, and wait until it answers."""
        self.host.kill()
        self.host.start()
        self.wait_ready()

    def close(self) -> None:
        """Free the client."""
        self.client.close()

    def answers(self) -> bool:
        """True if it replies to PING."""
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def wait_ready(self) -> None:
        """Until it answers. RuntimeError when it does not."""
        wait_until(self.answers, f"the server at port {self.port} to get ready", self.host)


def wait_until(holds: Callable[[], object], what: str, host: Any = None) -> None:
    """Until something holds; errors of a server count as "not yet". RuntimeError when it does not in time."""
    deadline = time.monotonic() + SERVERS_READY_TIMEOUT
    while True:
        try:
            if holds():
                return
        except redis.RedisError:
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(
                f"waited {SERVERS_READY_TIMEOUT:.0f} s for {what}" + (f":\n{host.log}" if host else "")
            )
        time.sleep(0.01)
