"""The options of commands about health checks."""

from __future__ import annotations

import os

from asynq.cli.arguments import read_duration, usage_error
from asynq.monitoring.options import Monitoring
from asynq.monitoring.systemd import SOCKET_VARIABLE


def read_monitoring(health_port: int | None, health_host: str | None, max_loop_lag: str | None) -> Monitoring:
    """What a process shows of itself. systemd is told if it asks for it."""
    try:
        return Monitoring(
            health_port=health_port,
            health_host=health_host,
            max_loop_lag=None if max_loop_lag is None else read_duration("--max-loop-lag", max_loop_lag),
            systemd=True if SOCKET_VARIABLE in os.environ else None,
        )
    except ValueError as error:
        option, _, rest = str(error).partition(" ")
        raise usage_error(f"--{option.replace('_', '-')} {rest}") from None
