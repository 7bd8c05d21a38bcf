"""Functions that processes run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context


def raise_inner() -> None:
    """Raises the cause."""
    raise KeyError("inner")


def fails(ctx: Context, task: Task) -> None:
    """Raises an error with a cause."""
    try:
        raise_inner()
    except KeyError as error:
        raise ValueError("outer") from error


def dies(ctx: Context, task: Task) -> None:
    """Ends its process."""
    os._exit(3)
