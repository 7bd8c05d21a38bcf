"""Operations that deliver followers: find the parents that have succeeded, and let them go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops.base import MAX_BATCH, Op

if TYPE_CHECKING:
    from asynq.protocol.message import StoredTask


class TakeParents(Op[tuple["StoredTask", ...]], frozen=True, kw_only=True):
    """Take the completed parents of a queue whose followers are not enqueued yet, those that ended first.

    A parent is a completed task that is kept longer than any user's retention, see
    `asynq.protocol.followers`. At most `limit` are answered, each with its result, and held for `hold`:
    until then no other call answers them. Afterwards they can be taken again, until FinishParent lets them
    go. An id whose task is gone is dropped, and a task that cannot be decoded is not answered.
    """

    idempotent = False  # a copy would not find what the first one holds

    queue: str
    hold: int
    limit: int = MAX_BATCH


class FinishParent(Op[bool], frozen=True, kw_only=True):
    """Let a parent go that TakeParents answered: its followers are enqueued.

    It is deleted if `retention` is 0, with its result and the lock it owns; otherwise it is kept for that
    long, from now. False, and nothing changed, when the parent is not held as it was answered: it was
    deleted, moved or taken again.
    """

    queue: str
    task_id: str
    held_until: int
    """The parent's `due_at` in the answer of TakeParents."""
    retention: int
