"""`GroupInfo` and `AggregationSet`: groups of tasks, and the sets taken from them for aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage


class GroupInfo(Struct, frozen=True, kw_only=True):
    """A group that holds tasks. Its durations are milliseconds by the broker's clock."""

    name: str
    size: int
    """Tasks waiting in the group, without those taken for aggregation."""
    waiting: int = 0
    """How long its oldest task has waited; 0 for one just added."""
    quiet: int = 0
    """How long ago its newest task was added."""


class AggregationSet(Struct, frozen=True, kw_only=True):
    """Tasks taken from a group for one aggregation, oldest first. They are held until it ends."""

    queue: str
    group: str
    id: str
    """The id that the caller of TakeGroup chose: the fencing token of the set."""
    messages: tuple[TaskMessage, ...]
