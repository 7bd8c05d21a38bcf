"""When a server ends by itself, and when its handler processes are replaced."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from asynq.checks import check_flag, check_positive
from asynq.runtime.process_limits import NO_LIMITS, ProcessLimits

EndReason = Literal["idle", "limit"]
"""Why a server ended by itself: nothing was left to do, or it reached a limit."""


@frozen(kw_only=True)
class EndConditions:
    """Options of a server about its end. By default it ends only when it is told to."""

    burst: bool = False
    limits: ProcessLimits = NO_LIMITS

    @classmethod
    def of(cls, *, burst: bool, max_tasks: int | None, max_memory: int | None) -> EndConditions:
        """Check the options. ValueError or TypeError, naming the option."""
        check_flag("burst", burst)
        _check_limit("max_tasks", max_tasks)
        _check_limit("max_memory", max_memory)
        return cls(burst=burst, limits=ProcessLimits(max_tasks=max_tasks, max_memory=max_memory))


def child_limits_of(max_tasks: int | None, max_memory: int | None) -> ProcessLimits:
    """The limits of handler processes. ValueError or TypeError for an invalid one, naming the option."""
    _check_limit("max_tasks_per_child", max_tasks)
    _check_limit("max_memory_per_child", max_memory)
    return ProcessLimits(max_tasks=max_tasks, max_memory=max_memory)


def _check_limit(name: str, value: object) -> None:
    if value is not None:
        check_positive(name, value)
