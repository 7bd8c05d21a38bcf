"""`Monitoring`: the options of what a server shows of itself."""

from __future__ import annotations

from datetime import timedelta  # noqa: TC003 - msgspec reads the annotations
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from asynq.checks import check_count, check_flag, check_seconds, check_text
from asynq.monitoring.recorder import Recorder, Recorders
from asynq.monitoring.statsd import StatsDRecorder, parse_address
from asynq.runtime.health import MAX_LOOP_LAG

MAX_PORT = 65535
LOOPBACK = "127.0.0.1"
"""Where listeners listen by default."""


class Monitoring(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a server shows of itself to those who operate it. None: not given.

    There is no authentication: open a port only to those who may see it.

    Args:
        health_port: serve `/livez` and `/readyz` over HTTP at this port; 0 takes any free one.
        health_host: the address to listen at; by default the loopback interface.
        metrics_port: serve metrics for Prometheus at this port, which may be that of the health checks. Needs
            the extra `metrics`.
        metrics_host: the address to listen at; by default the loopback interface.
        statsd: send metrics to this StatsD server over UDP: `host:port`, or `dogstatsd://host:port`, where
            labels are tags.
        recorders: a sequence of Recorders, which are told of all runs.
        max_loop_lag: how long the event loop may be blocked until `/livez` and `/readyz` fail and systemd is
            told nothing any more; 30 seconds by default.
        systemd: tell systemd when the server is ready, draining and alive, if systemd started it with
            `Type=notify`. The environment variables of this protocol are removed, so that child processes do
            not inherit them.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
    """

    health_port: int | None = None
    health_host: str | None = None
    metrics_port: int | None = None
    metrics_host: str | None = None
    statsd: str | None = None
    recorders: Any = None  # a sequence of Recorders; not part of a command line
    max_loop_lag: timedelta | None = None
    systemd: bool | None = None

    def __post_init__(self) -> None:
        for name, port in (("health_port", self.health_port), ("metrics_port", self.metrics_port)):
            if port is not None:
                check_count(name, port)
                if port > MAX_PORT:
                    raise ValueError(f"{name} must be at most {MAX_PORT}; it is {port}")
        if self.statsd is not None:
            check_text("statsd", self.statsd)
            parse_address(self.statsd)
        for each in self.recorders or ():
            if not isinstance(each, Recorder):
                raise TypeError(f"recorders must be Recorders, not {type(each).__name__}")
        if self.max_loop_lag is not None:
            check_seconds("max_loop_lag", self.max_loop_lag)
        if self.systemd is not None:
            check_flag("systemd", self.systemd)

    @property
    def longest_lag(self) -> timedelta:
        """How long the event loop may be blocked."""
        return MAX_LOOP_LAG if self.max_loop_lag is None else self.max_loop_lag

    @property
    def shows_health(self) -> bool:
        """Whether anybody sees whether the server is healthy."""
        return self.health_port is not None or bool(self.systemd)

    def recorder(self, *more: Recorder) -> Recorder | None:
        """Tells all recorders that are wanted; None if there are none."""
        wanted = [*(self.recorders or ()), *more]
        if self.statsd is not None:
            wanted.append(StatsDRecorder(self.statsd))
        return Recorders(wanted) if wanted else None

    def over(self, other: Monitoring) -> Monitoring:
        """The options of another one, with those replaced that are given here."""
        return replace(other, **{name: value for name, value in asdict(self).items() if value is not None})
