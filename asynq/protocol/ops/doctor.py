"""Doctor: finding and repairing damage in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from asynq.protocol.ops.base import Op

if TYPE_CHECKING:
    from asynq.protocol.doctor import Finding


@frozen(kw_only=True)
class Examined:
    """Answer of Examine."""

    findings: tuple[Finding, ...]
    cursor: str
    """Where to go on; "" when the end was reached."""


@frozen(kw_only=True)
class Examine(Op[Examined]):
    """Look for damage in a bounded part of the store, from `cursor` on; "" to begin.

    With a queue, at what belongs to it; without, at queues nobody listed and at records of processes that
    are gone. `repair` mends each finding if it is still as it was found. A store in use may show what is
    under way as damage when it cannot be told from it; repairing that does no harm. A task that should be
    pending counts as orphaned once the head of its queue was made later.
    """

    queue: str | None = None
    cursor: str = ""
    repair: bool = False
