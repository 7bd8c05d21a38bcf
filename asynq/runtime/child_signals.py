"""Keeps stop signals from the helper processes of a worker: handler processes and the lease keeper.

Terminals and service managers send these signals to all processes of a worker. The worker alone decides when
its helper processes end.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILD_MASKED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGTSTP, signal.SIGHUP, signal.SIGQUIT)
"""The signals that helper processes must not receive from outside."""


@contextmanager
def signals_masked() -> Iterator[None]:
    """Block these signals in processes started in this context, until they call `unmask_signals`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CHILD_MASKED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unmask_signals() -> None:
    """Unblock the signals. For a helper process, once it has set how it handles them."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, CHILD_MASKED_SIGNALS)
