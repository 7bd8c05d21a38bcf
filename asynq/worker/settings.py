"""The settings of a worker and of its processor."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from attrs import frozen

from asynq.handlers.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from random import Random

    from asynq.handlers.adapters import HandlerAdapter
    from asynq.handlers.hooks import Callbacks
    from asynq.handlers.retry import IsFailure
    from asynq.handlers.retry_delays import RetryDelay
    from asynq.monitoring.options import Monitoring
    from asynq.runtime.process_limits import ProcessLimits
    from asynq.worker.aggregation import AggregationSettings
    from asynq.worker.end_conditions import EndConditions
    from asynq.worker.queue_limits import QueueLimits
    from asynq.worker.queue_selection import QueuePriority
    from asynq.worker.served_queues import ServedQueues


@frozen(kw_only=True)
class WorkerSettings:
    """The options of a server, validated. Durations are in milliseconds."""

    concurrency: int
    preference: QueuePriority
    limits: QueueLimits
    retry_delay: RetryDelay | timedelta | None
    is_failure: IsFailure | None
    callbacks: Callbacks
    health_check_interval: int
    shutdown_timeout: int
    lease: int
    stall_warning: int | None
    """None: a blocked event loop is not logged."""
    grouping: AggregationSettings | None
    """None: no groups are aggregated."""
    ends: EndConditions
    children: ProcessLimits
    """Of the processes with handlers."""
    monitoring: Monitoring

    def retry_policy(self, rng: Random, handler: HandlerAdapter) -> RetryPolicy:
        """What follows from failed runs of this handler."""
        return RetryPolicy(
            rng=rng, delay=self.retry_delay, is_failure=self.is_failure, rules_of=handler.failure_rules
        )


@frozen(kw_only=True)
class ProcessorSettings:
    """The settings of a processor."""

    queues: ServedQueues
    concurrency: int
    lease: int
    """Milliseconds."""
    rules: RetryPolicy
    rng: Random
    retried: Callable[[str], None]
    """Called with the queue of a task that was moved to retry, because the forwarder has to move it back."""
    parent_completed: Callable[[str], None]
    """Called with the queue of a completed task that others follow."""
    since: bool = False
    """Whether to ask since when tasks were pending."""
    max_tasks: int = sys.maxsize
    """The number of runs to start at most."""
