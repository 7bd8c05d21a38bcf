"""The options of commands about health checks and metrics."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING

from asynq.cli.arguments import option_of, read_duration, refusal, usage_error
from asynq.monitoring.options import Monitoring
from asynq.monitoring.systemd import SOCKET_VARIABLE

if TYPE_CHECKING:
    import typer

    from asynq.monitoring.monitor import ListenError


def monitoring(
    health: tuple[int | None, str | None],
    max_loop_lag: str | None,
    metrics: tuple[int | None, str | None] = (None, None),
    statsd: str | None = None,
) -> Monitoring:
    """What a process shows of itself. systemd is told if it asks for it.

    Args:
        health: port and address of health checks.
        max_loop_lag: how long the event loop may be blocked.
        metrics: port and address of metrics.
        statsd: the address of a StatsD server.
    """
    if metrics[0] is not None and find_spec("prometheus_client") is None:
        raise refusal("prometheus_client is missing: pip install 'asynq-py[metrics]'")
    try:
        return Monitoring(
            health_port=health[0],
            health_host=health[1],
            metrics_port=metrics[0],
            metrics_host=metrics[1],
            statsd=statsd,
            max_loop_lag=None if max_loop_lag is None else read_duration("--max-loop-lag", max_loop_lag),
            systemd=True if SOCKET_VARIABLE in os.environ else None,
        )
    except ValueError as error:
        option, _, rest = str(error).partition(" ")
        raise usage_error(f"{option_of(option)} {rest}") from None


def cannot_listen(error: ListenError) -> typer.BadParameter:
    """The usage error after an address cannot be used."""
    return refusal(f"{option_of(error.option)} {error.rest}")
