"""`StatsDRecorder`: sends what a server observes to a StatsD server, over UDP."""

from __future__ import annotations

import re
import socket
import threading
from typing import TYPE_CHECKING

from asynq.monitoring.recorder import Recorder
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from asynq.monitoring.recorder import RunOutcome

log = get_logger("asynq.monitoring")

DEFAULT_PORT = 8125
PREFIX = "asynq.worker."
MAX_DATAGRAM = 1400
"""Bytes of a datagram, which fits into a packet of an Ethernet."""
FLUSH_INTERVAL = 0.5
"""Seconds after which a datagram is sent that is not full."""
_PLAIN, _TAGGED = "statsd", "dogstatsd"


class StatsDRecorder(Recorder):
    """Sends counters and timings, several to a datagram. Those that cannot be sent are dropped.

    Args:
        address: `host:port` or `statsd://host:port`: labels are parts of the names. `dogstatsd://host:port`:
            labels are tags. The port is 8125 by default.

    Raises:
        ValueError: the address is invalid.
    """

    def __init__(self, address: str) -> None:
        self._tagged, self._host, self._port = parse_address(address)
        self._lines: list[bytes] = []
        self._size = 0
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def server_started(self, concurrency: int) -> None:  # noqa: ARG002 - as in the base class
        """Open the socket, and begin to send."""
        try:
            family, kind, _, _, address = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)[
                0
            ]
            self._socket = socket.socket(family, kind)
            self._socket.connect(address)
            self._socket.setblocking(False)  # noqa: FBT003 - its only form
        except OSError as error:
            log.warning("StatsD is not sent to %s:%d: %s", self._host, self._port, error)
            return
        self._thread = threading.Thread(target=self._flush_often, name="asynq-statsd", daemon=True)
        self._thread.start()

    def server_ended(self) -> None:
        """Send what is left, and close the socket."""
        self._closed.set()
        if self._thread:
            self._thread.join()
        if self._socket:
            self._socket.close()
            self._socket = None

    def run_started(self, queue: str, task_type: str, waited: float | None) -> None:
        """See Recorder."""
        if waited is not None:
            self._send("wait", f"{waited * 1000:g}|ms", queue=queue, type=task_type)

    def run_ended(self, queue: str, task_type: str, seconds: float) -> None:
        """See Recorder."""
        self._send("run", f"{seconds * 1000:g}|ms", queue=queue, type=task_type)

    def run_settled(self, queue: str, task_type: str, outcome: RunOutcome) -> None:
        """See Recorder."""
        self._send("runs", "1|c", queue=queue, type=task_type, outcome=outcome)

    def task_recovered(self, queue: str, task_type: str, to: str) -> None:
        """See Recorder."""
        self._send("recovered_tasks", "1|c", queue=queue, type=task_type, to=to)

    def broker_called(self, call: str, operations: Mapping[str, int], seconds: float, error: str) -> None:
        """See Recorder."""
        self._send("broker_call", f"{seconds * 1000:g}|ms", call=call)
        if error:
            self._send("broker_call_failures", "1|c", call=call)
        for operation, number in operations.items():
            self._send("broker_operations", f"{number}|c", operation=operation)

    def _send(self, name: str, value: str, **labels: str) -> None:
        if self._tagged:
            tags = ",".join(f"{label}:{_tag(text)}" for label, text in labels.items())
            line = f"{PREFIX}{name}:{value}|#{tags}"
        else:
            line = f"{PREFIX}{'.'.join((name, *map(_part, labels.values())))}:{value}"
        data = line.encode(errors="replace")
        with self._lock:
            if self._size + len(data) > MAX_DATAGRAM:
                self._flush()
            self._lines.append(data)
            self._size += len(data) + 1

    def _flush_often(self) -> None:
        while not self._closed.wait(FLUSH_INTERVAL):
            with self._lock:
                self._flush()
        with self._lock:
            self._flush()

    def _flush(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if lines and self._socket:
            try:
                self._socket.send(b"\n".join(lines))
            except OSError as error:
                log.debug("StatsD cannot be sent: %s", error)


def parse_address(address: str) -> tuple[bool, str, int]:
    """Whether labels are tags, the host and the port. ValueError for an invalid address."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = _PLAIN, address
    host, colon, port = rest.rpartition(":") if ":" in rest.rpartition("]")[2] else (rest, "", "")
    if scheme not in (_PLAIN, _TAGGED) or not host or (colon and not port.isdecimal()):
        raise ValueError(f"statsd must be host:port or dogstatsd://host:port; it is {address!r}")
    number = int(port) if port else DEFAULT_PORT
    if not 0 < number < 65536:
        raise ValueError(f"statsd must have a port from 1 to 65535; it is {address!r}")
    return scheme == _TAGGED, host.strip("[]"), number


def _part(text: str) -> str:
    """A label as a part of a name: dots separate parts, and colons and bars have a meaning."""
    return re.sub(r"[^\w-]", "_", text)[:200] or "_"


def _tag(text: str) -> str:
    """A label as a tag."""
    return re.sub(r"[,|#\s]", "_", text)[:200]
