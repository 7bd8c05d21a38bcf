"""The command `asynq`, also as `python -m asynq`."""

from __future__ import annotations

import signal
import sys

from asynq.runtime.stop_signals import end_by_sigterm


def main() -> None:
    """Run it. While it is being loaded and its options are made ready SIGTERM and Ctrl-C end it quietly."""
    end_by_sigterm()
    try:
        from asynq.cli.main import app
        from asynq.runtime.safe_text import shown_traceback

        # What an error says may come from anywhere.
        sys.excepthook = lambda _, error, __: sys.stderr.write(shown_traceback(error) + "\n")

        app(prog_name="asynq")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
