"""The types and queues of the tasks of a benchmark."""

from __future__ import annotations

NOOP = "bench:noop"
"""An async handler that does nothing."""
THREAD = "bench:thread"
"""A sync handler that does nothing, in a thread."""
DEFAULT = "default"


def queue_names(count: int) -> tuple[str, ...]:
    """The queues of a measurement that uses `count` of them."""
    return (DEFAULT,) if count == 1 else tuple(f"bench-{number:03}" for number in range(count))
