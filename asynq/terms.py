"""How a worker takes and runs tasks: what its parts are told once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from asynq.queues import Preference, QueueLimits
    from asynq.retry import RetryRules


@frozen(kw_only=True)
class Terms:
    """How a processor works."""

    preference: Preference
    limits: QueueLimits
    concurrency: int
    lease: int
    """Milliseconds."""
    rules: RetryRules
    rng: Random
    retried: Callable[[str], None]
    """Called with the queue of a task that was moved to retry: there is something to forward."""
