"""Entry point of a worker process, whose settings are its argument. See `asynq.supervisor.command`."""

from __future__ import annotations

import signal
import sys

from asynq.runtime.excepthook import show_error
from asynq.runtime.stop_signals import end_by_sigterm, unblock_signals


def main() -> None:
    """Run the worker. SIGTERM and Ctrl-C end it quietly while it is loading."""
    end_by_sigterm()
    try:
        unblock_signals(signal.SIGTERM, signal.SIGINT)

        from asynq.cli.worker_process import run_worker
        from asynq.supervisor.worker_command import read_settings

        sys.excepthook = show_error
        sys.exit(run_worker(read_settings(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
