"""AcquireSlot, ReleaseSlot and TakeToken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq.protocol.ops import AcquireSlot, ReleaseSlot, TakeToken
    from asynq_sqlite.store.task_store import TaskStore


def acquire_slot(store: TaskStore, op: AcquireSlot, now: int) -> bool:
    """Acquire a slot, or extend the hold on it."""
    store.free_ended_slots(op.scope, now)
    holders = store.holders(op.scope)
    if op.holder not in holders and len(holders) >= op.limit:
        return False
    store.hold_slot(op.scope, op.holder, max(holders.get(op.holder, 0), now + op.hold))
    return True


def release_slot(store: TaskStore, op: ReleaseSlot, now: int) -> bool:  # noqa: ARG001 - a handler's signature
    """Release a slot."""
    return store.free_slot(op.scope, op.holder)


def take_token(store: TaskStore, op: TakeToken, now: int) -> int:
    """Take a token and return 0, or return how many milliseconds to wait."""
    oldest = store.token_taken(op.scope, op.limit - 1)
    if oldest is not None and oldest + op.per > now:
        return min(oldest + op.per - now, op.per)
    store.take_token(op.scope, now, now - op.per)
    return 0
