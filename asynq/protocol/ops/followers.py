"""Operations that deliver followers: find the parents that succeeded, tell joins of them, let them go."""

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


class Arrive(Op[int], frozen=True, kw_only=True):
    """Tell a task that waits for several, its members, that one of them has succeeded.

    Its result becomes a header of the task that waits. In the step in which the last member arrives, this
    task becomes pending, at the tail of its queue. Answers the number of members that are missing; 0, and
    nothing changed, when the task does not wait any more. A member that has arrived before changes nothing.
    TaskNotFoundError, and nothing changed, when the task is gone, when it cannot be decoded, or when it
    waits, but not for this member: another task has its id now.
    """

    queue: str
    task_id: str
    member: int
    """Place of the member, from 0 on."""
    member_queue: str
    member_id: str
    members: int
    """Number of the members."""
    result: str
    """The result as a header, see `asynq.protocol.followers.passed_result`."""
