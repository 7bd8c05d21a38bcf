"""What a command of this package shows when an error ends it."""

from __future__ import annotations

import sys


def show_error(_: object, error: BaseException, __: object) -> None:
    """Write an error to stderr. For `sys.excepthook`."""
    from asynq.runtime.safe_text import shown_traceback

    # The text of an error is untrusted.
    sys.stderr.write(shown_traceback(error) + "\n")
