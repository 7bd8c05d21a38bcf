"""The protocol of systemd for services of `Type=notify`: ready, stopping, status and keepalives.

A message is a datagram of lines to the socket that `NOTIFY_SOCKET` names; see sd_notify(3).
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from asynq.runtime.health import Health

log = get_logger("asynq.monitoring")

SOCKET_VARIABLE = "NOTIFY_SOCKET"
WATCHDOG_VARIABLES = ("WATCHDOG_USEC", "WATCHDOG_PID")
BEATS_PER_WATCHDOG = 3
"""Keepalives within the time after which systemd restarts the service."""
LAST_PATIENCE = 0.5
"""Seconds that the last message waits for room in the queue of systemd: no other follows it."""
MAX_STATUS = 200
"""Characters of a status line."""


class SystemdNotifier:
    """Tells systemd what changes in the health of this service, and that it is alive.

    Args:
        address: the path of a socket; one that begins with `@` is in the abstract namespace.
        watchdog: seconds after which systemd restarts a service that sends nothing. None: it does not.
    """

    def __init__(self, address: str, watchdog: float | None = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = watchdog
        self._ready = False
        self._failing: frozenset[str] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)  # noqa: FBT003 - its only form

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] = os.environ) -> SystemdNotifier | None:
        """The notifier that systemd asks for, or None. The variables are removed from the environment."""
        address = environ.pop(SOCKET_VARIABLE, None)
        usec, pid = (environ.pop(name, None) for name in WATCHDOG_VARIABLES)
        if not address or address[0] not in "/@":
            return None
        watched = usec is not None and usec.isdecimal() and int(usec) > 0 and pid in (None, str(os.getpid()))
        return cls(address, int(usec) / 1_000_000 if watched and usec else None)

    @property
    def interval(self) -> float:
        """Seconds between two calls of `tell`, at most."""
        return 0.5 if self._watchdog is None else min(self._watchdog / BEATS_PER_WATCHDOG, 0.5)

    def tell(self, health: Health) -> None:
        """Tell systemd how the service is. What it does not accept is told again by the next call."""
        lines = []
        ready = self._ready or health.ready
        if ready and not self._ready:
            lines.append("READY=1")
        if self._watchdog is not None and health.live:
            lines.append("WATCHDOG=1")
        if (failing := frozenset(health.failing)) != self._failing:
            lines.append(f"STATUS={_status(health)}")
        if self._send(lines):
            self._ready, self._failing = ready, failing

    def close(self) -> None:
        """Tell systemd that the service ends.

        Not earlier: from then on systemd waits for its `TimeoutStopSec=` only, and kills the service. One
        that has reached a limit drains for as long as its tasks take.
        """
        self._socket.settimeout(LAST_PATIENCE)
        self._send(["STOPPING=1"])
        self._socket.close()

    def _send(self, lines: list[str]) -> bool:
        """Whether systemd has accepted a message. Its queue may be full, or its socket not there."""
        if not lines:
            return True
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            log.debug("systemd cannot be told %s: %s", lines, error)
            return False
        return True


def without_systemd(environ: MutableMapping[str, str]) -> None:
    """Remove the variables of the protocol from an environment for child processes."""
    for name in (SOCKET_VARIABLE, *WATCHDOG_VARIABLES):
        environ.pop(name, None)


def _status(health: Health) -> str:
    if health.ready:
        return "ready"
    text = "; ".join(f"{check}: {reason}" for check, reason in health.failing.items())
    return " ".join(text.split())[:MAX_STATUS]
