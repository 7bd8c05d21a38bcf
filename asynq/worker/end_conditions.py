"""`EndConditions`: when a server ends by itself."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from asynq.checks import check_flag

EndReason = Literal["idle", "limit"]
"""Why a server ended by itself: nothing was left to do, or it reached a limit."""


@frozen(kw_only=True)
class EndConditions:
    """Options of a server about its end. By default it ends only when it is told to."""

    burst: bool = False
    max_tasks: int | None = None
    max_memory: int | None = None
    """Bytes."""

    @classmethod
    def of(cls, *, burst: bool, max_tasks: int | None, max_memory: int | None) -> EndConditions:
        """Check the options. ValueError or TypeError, naming the option."""
        check_flag("burst", burst)
        for name, value in (("max_tasks", max_tasks), ("max_memory", max_memory)):
            if value is not None:
                _check_limit(name, value)
        return cls(burst=burst, max_tasks=max_tasks, max_memory=max_memory)


def _check_limit(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1; it is {value}")
