"""The command `asynq`, also as `python -m asynq`."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Run it. A Ctrl-C while it is still being loaded ends it quietly."""
    try:
        from asynq.cli.main import app
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    app(prog_name="asynq")


if __name__ == "__main__":
    main()
