"""The types and queues of the tasks of a benchmark."""

from __future__ import annotations

NOOP = "bench:noop"
"""An async handler that does nothing."""
THREAD = "bench:thread"
"""A sync handler that does nothing, in a thread."""
HOLD = "bench:hold"
"""An async handler that ends at random once as many others run as its payload says."""
THIRD = "bench:third"
"""An async handler that does nothing, and fails in one of three runs."""
WAIT = "bench:wait"
"""An async handler that reports that it has started, and that it was cancelled."""
TIME = "bench:time"
"""An async handler that returns the time."""
DEFAULT = "default"
MANY_QUEUES = 300
FEW_ACTIVE, MANY_ACTIVE = 50, 1000
DUE_A_SECOND = 100
"""Scheduled tasks that become due at the same second."""


def queue_names(count: int) -> tuple[str, ...]:
    """The queues of a measurement that uses `count` of them."""
    return (DEFAULT,) if count == 1 else tuple(f"bench-{number:03}" for number in range(count))
