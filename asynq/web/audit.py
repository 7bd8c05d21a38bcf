"""The audit: who did what, when, to how many tasks. Logged, and remembered for a page."""

from __future__ import annotations

from collections import deque
from collections.abc import Sized
from itertools import count
from typing import TYPE_CHECKING, Literal

from attrs import define

from asynq.runtime.logs import get_logger
from asynq.runtime.safe_text import shown

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from datetime import datetime

    from asynq.web.undo import TaskUndo

log = get_logger("asynq.audit")

ActionEnd = Literal["done", "unchanged", "stopped", "failed"]
"""How an action ended. "unchanged": it came too late to change anything."""
_MOST_REMEMBERED = 50_000
"""Tasks of all actions together that can be put back."""


@define
class Outcome:
    """What became of an action, as its handler notes it."""

    user: str
    action: str
    """Name of the endpoint."""
    what: str
    """What was to happen, as a sentence."""
    changed: int | None = None
    """Number of tasks that were changed; None if it was not about tasks."""
    remark: str = ""
    """What the user should know of the end: why some tasks were not changed."""
    unchanged: bool = False
    """Whether it came too late to change anything; the remark says why."""
    continues: bool = False
    """Whether it goes on as a job, which ends it."""
    undo: Callable[[], Awaitable[object]] | None = None
    """What undoes it, if anything does."""

    def undone_by(self, undo: TaskUndo) -> None:
        """Note what takes back the changes of tasks, as far as any can be taken back."""
        if undo:
            self.undo = undo
        if undo.forgotten:
            self.remark = f"only the last {len(undo):,} of these can be undone"


@define
class AuditEntry:
    """One line of the audit."""

    id: int
    at: datetime
    outcome: Outcome
    end: ActionEnd
    error: str = ""
    """Why it failed; "" if it did not."""


class AuditLog:
    """The last actions.

    Args:
        size: How many of them are remembered.
        now: A clock.
    """

    def __init__(self, size: int, now: Callable[[], datetime]) -> None:
        self._entries: deque[AuditEntry] = deque(maxlen=size)
        self._ids = count(1)
        self._now = now

    def __iter__(self) -> Iterator[AuditEntry]:
        """Latest first."""
        return reversed(self._entries)

    def find(self, entry_id: int) -> AuditEntry | None:
        """An entry that is still remembered."""
        return next((entry for entry in self._entries if entry.id == entry_id), None)

    def ended(self, outcome: Outcome) -> None:
        """Record an action that was carried out."""
        self._add(outcome, "unchanged" if outcome.unchanged else "done")
        log.info("user=%r action=%s what=%r tasks=%s", *_facts(outcome))

    def stopped(self, outcome: Outcome) -> None:
        """Record an action that was stopped, after some tasks: these can be put back."""
        self._add(outcome, "stopped")
        log.info("user=%r action=%s what=%r tasks=%s stopped", *_facts(outcome))

    def failed(self, outcome: Outcome, error: Exception) -> None:
        """Record an action that failed, perhaps after some tasks: these can be put back."""
        self._add(outcome, "failed", shown(error))
        log.warning("user=%r action=%s what=%r tasks=%s error=%r", *_facts(outcome), error)

    def _add(self, outcome: Outcome, end: ActionEnd, error: str = "") -> None:
        if end in ("stopped", "failed") and not outcome.changed:
            outcome.undo = None
        self._entries.append(AuditEntry(next(self._ids), self._now(), outcome, end, error))
        remembered = 0
        for entry in self:
            if isinstance(entry.outcome.undo, Sized):
                remembered += len(entry.outcome.undo)
                if remembered > _MOST_REMEMBERED:
                    entry.outcome.undo = None


def _facts(outcome: Outcome) -> tuple[str, str, str, int | str]:
    """What the log says of each action."""
    return outcome.user, outcome.action, outcome.what, "-" if outcome.changed is None else outcome.changed
