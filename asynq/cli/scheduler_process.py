"""What `asynq scheduler` does: run schedulers in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from asynq.cli.monitoring import cannot_listen
from asynq.cli.targets import load_or_show, load_schedulers
from asynq.errors import AsynqError, BrokerRefusedError
from asynq.monitoring.monitor import ListenError, Monitor
from asynq.runtime.logs import configure, get_logger
from asynq.runtime.safe_text import shown
from asynq.scheduler.group import SchedulerGroup
from asynq.supervisor.command import INTERRUPTED, USAGE_ERROR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from asynq.monitoring.options import Monitoring
    from asynq.runtime.health import Health
    from asynq.scheduler.base_scheduler import BaseScheduler
    from asynq.supervisor.command import LogLevel

log = get_logger("asynq.scheduler")


def run_schedulers(
    targets: Sequence[str], *, app_dir: Path, log_level: LogLevel | None, monitoring: Monitoring
) -> int:
    """Run the schedulers until a signal. Returns the exit status."""
    schedulers: dict[BaseScheduler, None] = {}
    try:
        for target in targets:
            loaded = load_or_show(load_schedulers, target, app_dir)
            if loaded is None:
                return USAGE_ERROR
            schedulers.update(dict.fromkeys(loaded))
    except KeyboardInterrupt:
        return INTERRUPTED
    # After the import, because the logging configuration of the modules takes precedence.
    configure(log_level and log_level.upper())
    if not all(each.broker.capabilities.multi_process for each in schedulers):
        log.warning("a broker works within one process: no worker can take its tasks")
    group = SchedulerGroup(tuple(schedulers))

    def check(*, broker: bool) -> Health:
        return group.health_from_thread(broker=broker, max_loop_lag=monitoring.longest_lag)

    monitor = Monitor(monitoring, check)
    try:
        monitor.start()
    except ListenError as error:
        raise cannot_listen(error) from None
    try:
        group.run()
    except AsynqError as error:
        typer.echo(f"Error: {shown(error)}", err=True)
        return USAGE_ERROR if isinstance(error, BrokerRefusedError) else 1
    finally:
        monitor.close()
    return 0
