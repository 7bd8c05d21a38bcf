"""Entry point of the `asynq` command, also as `python -m asynq`."""

from __future__ import annotations

import signal
import sys

from asynq.runtime.excepthook import show_error
from asynq.runtime.stop_signals import end_by_sigterm


def main() -> None:
    """Run the command. SIGTERM and Ctrl-C end it quietly while it is loading."""
    end_by_sigterm()
    try:
        from asynq.cli.main import app

        sys.excepthook = show_error
        app(prog_name="asynq")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
