"""Entry point of a worker process, whose settings are its argument. See `asynq.supervisor.command`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress

from asynq.runtime.excepthook import show_error
from asynq.runtime.stop_signals import end_by_sigterm, unblock_signals


def _load_backend() -> None:
    """Load what the lease keeper needs of the broker, if the broker is known before the user's module."""
    from asynq.protocol.connect import load_backend
    from asynq.supervisor.command import BROKER_VARIABLE

    if url := os.environ.get(BROKER_VARIABLE):
        with suppress(Exception):  # reported when the broker is used
            load_backend(url)


def main() -> None:
    """Run the worker. SIGTERM and Ctrl-C end it quietly while it is loading."""
    end_by_sigterm()
    try:
        unblock_signals(signal.SIGTERM, signal.SIGINT)

        from asynq.worker.leases.forked_keeper import fork_keeper

        fork_keeper(_load_backend)

        from asynq.cli.worker_process import run_worker
        from asynq.supervisor.worker_command import read_settings

        sys.excepthook = show_error
        sys.exit(run_worker(read_settings(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
