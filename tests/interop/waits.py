"""Waiting until a side shows what a test expects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.interop.lines import PeerError
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.sides import Shown, Side


def in_state(side: Side, state: str, task: str, queue: str = "default") -> Shown:
    """Wait until a task is in a state, and return it."""
    seen: list[Shown] = []

    def found() -> bool:
        try:
            seen.append(side.task(queue, task))
        except PeerError:
            return False
        return seen[-1].state == state

    eventually(found, explain=lambda: seen[-1:])
    return seen[-1]


def is_gone(side: Side, task: str, queue: str = "default") -> bool:
    """Whether a side knows of no such task."""
    try:
        side.task(queue, task)
    except PeerError as error:
        return error.kind == "task not found"
    return False
