"""Operation of the doctor: find and repair damage in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.doctor import Finding


class Examined(Struct, frozen=True, kw_only=True):
    """Answer of Examine."""

    findings: tuple[Finding, ...]
    cursor: str
    """Where the next call continues; "" when the end was reached."""


class Examine(Op[Examined], frozen=True, kw_only=True):
    """Look for damage in a bounded part of the store, from `cursor` on; "" to begin.

    With a queue, examines what belongs to it. Without one, examines queues that are not listed and records of
    processes that are gone. With `repair`, repairs each finding that is still as it was found. In a store
    that is in use, an operation under way may look like damage when the two cannot be told apart; repairing
    it does no harm. A task that should be pending counts as orphaned once the head of its queue was created
    after it.
    """

    queue: str | None = None
    cursor: str = ""
    repair: bool = False
