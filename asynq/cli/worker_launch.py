"""What `asynq worker` does with its options: become a worker process, or keep several running."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING

from attrs import frozen
from msgspec.structs import replace

from asynq.cli.arguments import refusal, usage_error
from asynq.cli.monitoring import cannot_listen
from asynq.errors import BrokerURLError
from asynq.monitoring.monitor import ListenError, Monitor
from asynq.monitoring.options import Monitoring
from asynq.monitoring.systemd import without_systemd
from asynq.runtime.forks import flush
from asynq.runtime.logs import configure
from asynq.runtime.stop_signals import block_signals
from asynq.supervisor.command import (
    BROKER_VARIABLE,
    INTERRUPTED,
    OVERRIDE_VARIABLE,
    SETTLE_ALLOWANCE,
    SHUTDOWN_TIMEOUT,
)
from asynq.supervisor.worker_command import worker_command

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from datetime import timedelta
    from typing import Any

    from asynq.monitoring.counters import RunCounters
    from asynq.monitoring.http_listener import MakePage
    from asynq.supervisor.supervisor import Supervisor
    from asynq.supervisor.worker_command import WorkerSettings


@frozen
class BrokerChoice:
    """The broker that a command line names."""

    url: str | None
    """None: neither an argument nor the environment names one."""
    given: bool
    """Whether it is an argument, which replaces the broker of a server."""


def launch(
    settings: WorkerSettings,
    broker: BrokerChoice,
    *,
    processes: int,
    stall_timeout: timedelta | None,
    reload_dirs: Sequence[str] = (),
) -> int:
    """Run one worker in place of this process, or several in processes of their own.

    With `reload_dirs`, they are replaced when a Python file in these directories changes.

    Returns:
        The exit status of several workers. One worker replaces this process, so that the memory of the
        parser of command lines, several MB, is free again.
    """
    env = dict(os.environ)
    if broker.url is not None:
        env[BROKER_VARIABLE] = broker.url
    if broker.given:
        env[OVERRIDE_VARIABLE] = "1"
    alone = processes == 1 and stall_timeout is None and not reload_dirs
    command = worker_command(settings if alone else supervised(settings))
    try:
        if alone:
            flush()
            # Until the worker handles them. It keeps the blocked signals.
            block_signals(signal.SIGTERM, signal.SIGINT)
            os.execve(command[0], command, env)  # noqa: S606
        if broker.url is not None and broker.given:
            check_shared(broker.url)
        configure(settings.log_level and settings.log_level.upper())
        without_systemd(env)
        return _supervise(
            command,
            env,
            settings,
            processes=processes,
            stall_timeout=stall_timeout,
            reload_dirs=reload_dirs,
        )
    except KeyboardInterrupt:
        return INTERRUPTED


def supervised(settings: WorkerSettings) -> WorkerSettings:
    """The settings of a worker process that has a supervisor, which shows the health of all of them."""
    monitoring = settings.options.monitoring or Monitoring()
    own = Monitoring(max_loop_lag=monitoring.max_loop_lag, statsd=monitoring.statsd)
    return replace(settings, options=replace(settings.options, monitoring=own))


def _supervise(
    command: list[str],
    env: dict[str, str],
    settings: WorkerSettings,
    *,
    processes: int,
    stall_timeout: timedelta | None,
    reload_dirs: Sequence[str],
) -> int:
    """Keep worker processes running. Returns their overall exit status."""
    from asynq.supervisor.supervisor import Supervisor, supervise
    from asynq.supervisor.worker_board import WorkerBoard

    monitoring = settings.options.monitoring or Monitoring()
    counts = monitoring.metrics_port is not None
    shows = counts or monitoring.shows_health
    boards = [WorkerBoard(counts=counts) for _ in range(processes)] if shows else []
    timeout = settings.options.shutdown_timeout or SHUTDOWN_TIMEOUT
    if reload_dirs:
        # The bytecode of a file would hide a change within the same second that keeps its size.
        env = {**env, "PYTHONDONTWRITEBYTECODE": "1"}
    supervisor = Supervisor(
        command,
        processes,
        env=env,
        stop_timeout=(timeout + SETTLE_ALLOWANCE).total_seconds(),
        stall_timeout=None if stall_timeout is None else stall_timeout.total_seconds(),
        rng=random.Random(),  # noqa: S311 - jitter of restarts
        boards=boards,
        reloads=bool(reload_dirs),
    )
    counters = [board.counters for board in boards if board.counters]
    page = _metrics_page(counters, supervisor) if counters else None
    monitor = Monitor(monitoring, lambda *, broker: supervisor.health(monitoring.longest_lag), page)  # noqa: ARG005
    try:
        monitor.start()
    except ListenError as error:
        raise cannot_listen(error) from None
    try:
        return asyncio.run(_reloading(supervisor, reload_dirs) if reload_dirs else supervise(supervisor))
    finally:
        monitor.close()


def _reloading(supervisor: Supervisor, directories: Sequence[str]) -> Coroutine[Any, Any, int]:
    try:
        from asynq.supervisor.reloading import supervise_and_reload
    except ImportError:
        raise refusal("--reload needs watchfiles: pip install 'asynq-py[reload]'") from None
    return supervise_and_reload(supervisor, directories)


def _metrics_page(counters: Sequence[RunCounters], supervisor: Supervisor) -> MakePage:
    from asynq.metrics.worker import WorkerCollector, metrics_page

    return metrics_page(WorkerCollector(counters, lambda: (len(supervisor.pids), supervisor.restarts)))


def check_shared(broker_url: str) -> None:
    """Raise a usage error unless several processes can use this broker."""
    from asynq.protocol.connect import connect

    try:
        capabilities = connect(broker_url).capabilities
    except BrokerURLError as error:
        raise usage_error(str(error)) from None
    if not capabilities.multi_process:
        raise usage_error(f"--broker: {one_process_only(capabilities.backend)}")


def one_process_only(backend: str) -> str:
    """Why several processes cannot use a broker of this kind."""
    return f"the {backend} broker works within one process only"
