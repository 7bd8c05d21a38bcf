"""Entry point of the `asynq` command, also as `python -m asynq`."""

from __future__ import annotations

import signal
import sys

from asynq.runtime.stop_signals import end_by_sigterm


def _show_error(_: object, error: BaseException, __: object) -> None:
    from asynq.runtime.safe_text import shown_traceback

    # The text of an error is untrusted.
    sys.stderr.write(shown_traceback(error) + "\n")


def main() -> None:
    """Run the command. SIGTERM and Ctrl-C end it quietly while it is loading."""
    end_by_sigterm()
    try:
        from asynq.cli.main import app

        sys.excepthook = _show_error
        app(prog_name="asynq")
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


if __name__ == "__main__":
    main()
