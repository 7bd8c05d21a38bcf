"""`Monitor`: serves health checks and metrics, and tells systemd, for a server or a supervisor."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

import msgspec

from asynq.monitoring.options import LOOPBACK
from asynq.monitoring.systemd import SystemdNotifier
from asynq.runtime.health import BROKER, LOOP, Health
from asynq.runtime.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from asynq.monitoring.http_listener import HTTPListener, MakePage, Page, Pages
    from asynq.monitoring.options import Monitoring

log = get_logger("asynq.monitoring")

PING_INTERVAL = 1.0
"""Seconds between two pings of the broker, where somebody is told of the health without asking."""


class ListenError(OSError):
    """An address cannot be used.

    Args:
        number: the error of the system.
        option: the option of `Monitoring` that names the port.
        rest: the address, and why.
    """

    def __init__(self, number: int | None, option: str, rest: str) -> None:
        super().__init__(number, f"{option} {rest}")
        self.option = option
        self.rest = rest


class CheckHealth(Protocol):
    """Checks the health of something. Called on any thread but that of its event loop."""

    def __call__(self, *, broker: bool) -> Health:
        """`broker`: whether to ask the broker, which may take some seconds."""
        ...


class Monitor:
    """Shows the health and the metrics of a server or supervisor, from `start` until it is closed.

    Args:
        options: what to show, and where.
        check: checks the health.
        metrics: makes the page `/metrics`. None: there is none.
    """

    def __init__(self, options: Monitoring, check: CheckHealth, metrics: MakePage | None = None) -> None:
        self._options = options
        self._check = check
        self._metrics = metrics
        self._listeners: list[HTTPListener] = []
        self._telling: HealthThread | None = None
        self._notifier: SystemdNotifier | None = None

    def start(self) -> None:
        """Open the listeners, and begin to tell systemd.

        Raises:
            ListenError: an address cannot be used.
        """
        options = self._options
        wanted: dict[tuple[str, int], dict[str, MakePage]] = {}
        if options.health_port is not None:
            address = options.health_host or LOOPBACK, options.health_port
            wanted.setdefault(address, {}).update(health_pages(self._check))
        if options.metrics_port is not None and self._metrics is not None:
            address = options.metrics_host or LOOPBACK, options.metrics_port
            wanted.setdefault(address, {})["/metrics"] = self._metrics
        try:
            for (host, port), pages in wanted.items():
                self._listen(host, port, pages)
        except BaseException:
            self.close()
            raise
        if options.systemd and (notifier := SystemdNotifier.from_environment()):
            self._notifier = notifier
            self._telling = HealthThread(self._check, notifier.tell, notifier.interval)

    @property
    def active(self) -> bool:
        """Whether there is anything to close."""
        return bool(self._listeners or self._telling)

    def close(self) -> None:
        """Stop showing anything."""
        if self._telling:
            self._telling.close()
        if self._notifier:
            self._notifier.close()
        self._telling = self._notifier = None
        while self._listeners:
            self._listeners.pop().close()

    def _listen(self, host: str, port: int, pages: Pages) -> None:
        from asynq.monitoring.http_listener import HTTPListener

        try:
            listener = HTTPListener(host, port, pages)
        except OSError as error:
            option = "health_port" if "/livez" in pages else "metrics_port"
            why = f"{port} of {host}: {error.strerror or error}"
            raise ListenError(error.errno, option, why) from None
        self._listeners.append(listener)
        log.info("serving %s at %s", ", ".join(pages), listener.address)


class HealthThread:
    """Passes the health on at an interval, in a thread. The broker is asked once a second, in another one.

    Args:
        check: checks the health.
        tell: called with it.
        interval: seconds between two calls of `tell`, which do not depend on how fast the broker answers.
    """

    def __init__(self, check: CheckHealth, tell: Callable[[Health], None], interval: float) -> None:
        self._check = check
        self._tell = tell
        self._interval = interval
        self._asked: Health | None = None
        """The last health with the answer of the broker."""
        self._closed = threading.Event()
        self._threads = [
            threading.Thread(target=target, name=f"asynq-health-{target.__name__}", daemon=True)
            for target in (self._asking, self._telling)
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop. A check that is under way ends first."""
        self._closed.set()
        for thread in self._threads:
            thread.join()

    def _asking(self) -> None:
        while not self._closed.is_set():
            self._asked = self._check(broker=True)
            self._closed.wait(PING_INTERVAL)

    def _telling(self) -> None:
        while not self._closed.is_set():
            health, asked = self._check(broker=False), self._asked
            if health.ready and asked is not None and not asked.ready:
                health = asked
            elif health.ready and asked is None:
                health = Health({BROKER: "not asked yet"})
            self._tell(health)
            self._closed.wait(self._interval)


def health_pages(check: CheckHealth) -> Pages:
    """The pages `/livez` and `/readyz`: status 200 or 503, and a JSON object with the checks that fail."""
    from asynq.monitoring.http_listener import Page

    def page(*, ok: bool, failing: Mapping[str, str]) -> Page:
        body = msgspec.json.encode({"ok": ok, "failing": failing}) + b"\n"
        return Page(body, "application/json", 200 if ok else 503)

    def live(_: Mapping[str, str]) -> Page:
        health = check(broker=False)
        return page(ok=health.live, failing={} if health.live else {LOOP: health.failing[LOOP]})

    def ready(_: Mapping[str, str]) -> Page:
        health = check(broker=True)
        return page(ok=health.ready, failing=health.failing)

    return {"/livez": live, "/readyz": ready}
