"""Validates the options of a server, and those that a command line overrides."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING, TypedDict

from attrs import evolve

from asynq.checks import check_count, check_duration, check_flag, check_positive, check_seconds
from asynq.monitoring.options import Monitoring
from asynq.worker.end_conditions import EndConditions, child_limits_of
from asynq.worker.queue_limits import QueueLimits
from asynq.worker.queue_selection import QueuePriority

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asynq.worker.settings import WorkerSettings

_MILLISECOND = timedelta(milliseconds=1)


class Overrides(TypedDict, total=False):
    """Options of a server that `Server.override` replaces."""

    concurrency: int
    queues: Mapping[str, int] | Sequence[str]
    strict_priority: bool
    queue_limits: Mapping[str, int]
    shared_queue_limits: Mapping[str, int]
    shutdown_timeout: timedelta
    lease: timedelta
    burst: bool
    max_tasks: int
    max_memory: int
    max_tasks_per_child: int
    max_memory_per_child: int
    monitoring: Monitoring


def overridden(settings: WorkerSettings, options: Overrides) -> WorkerSettings:
    """The settings with these options replaced.

    The limits of queues that are no longer served are dropped, unless they are among the options.

    Raises:
        ValueError: an option has an invalid value; the message names the option.
        TypeError: an option has the wrong type; the message names the option.
    """
    before = settings.preference
    strict = options.get("strict_priority", before.strict)
    if "queues" in options:
        preference = QueuePriority.of(options["queues"], strict=strict)
    else:
        check_flag("strict_priority", strict)
        preference = evolve(before, strict=strict)
    own, shared = (
        {name: most for name, most in limits.items() if preference.serves(name)}
        for limits in (settings.limits.own, settings.limits.shared)
    )
    settings = evolve(
        settings,
        preference=preference,
        limits=QueueLimits.of(
            options.get("queue_limits", own), options.get("shared_queue_limits", shared), preference
        ),
    )
    if "concurrency" in options:
        settings = evolve(settings, concurrency=concurrency_of(options["concurrency"]))
    if "shutdown_timeout" in options:
        settings = evolve(settings, shutdown_timeout=shutdown_timeout_of(options["shutdown_timeout"]))
    if "lease" in options:
        settings = evolve(settings, lease=seconds_of("lease", options["lease"]))
    if "monitoring" in options:
        settings = evolve(settings, monitoring=options["monitoring"].over(settings.monitoring))
    ends, children = settings.ends, settings.children
    return evolve(
        settings,
        ends=EndConditions.of(
            burst=options.get("burst", ends.burst),
            max_tasks=options.get("max_tasks", ends.limits.max_tasks),
            max_memory=options.get("max_memory", ends.limits.max_memory),
        ),
        children=child_limits_of(
            options.get("max_tasks_per_child", children.max_tasks),
            options.get("max_memory_per_child", children.max_memory),
        ),
    )


def concurrency_of(given: int | None) -> int:
    """The number of runs at the same time. None: the number of CPUs."""
    if given is None:
        return os.cpu_count() or 1
    check_count("concurrency", given)
    check_positive("concurrency", given)
    return given


def shutdown_timeout_of(value: timedelta) -> int:
    """In milliseconds."""
    check_duration("shutdown_timeout", value)
    return value // _MILLISECOND


def stall_warning_of(value: timedelta | None) -> int | None:
    """In milliseconds, at least one."""
    if value is None:
        return None
    check_duration("stall_warning", value)
    if value < _MILLISECOND:
        raise ValueError(f"stall_warning must be at least one millisecond; it is {value}")
    return value // _MILLISECOND


def monitoring_of(value: Monitoring | None) -> Monitoring:
    """What a server shows of itself. None: nothing."""
    if not isinstance(value, Monitoring | None):
        raise TypeError(f"monitoring must be a Monitoring, not {type(value).__name__}")
    return value or Monitoring()


def seconds_of(name: str, value: timedelta) -> int:
    """A duration of at least one second, in milliseconds."""
    check_seconds(name, value)
    return value // _MILLISECOND
