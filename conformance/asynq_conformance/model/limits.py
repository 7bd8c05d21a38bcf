"""AcquireSlot, ReleaseSlot, TakeToken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynq.protocol.ops import AcquireSlot, ReleaseSlot, TakeToken
    from asynq_conformance.model.state import System


def acquire_slot(system: System, op: AcquireSlot, now: int) -> bool:
    """Take a slot, or extend it."""
    held = system.slots.setdefault(op.scope, {})
    for holder in [holder for holder, until in held.items() if until <= now]:
        del held[holder]
    if op.holder not in held and len(held) >= op.limit:
        return False
    held[op.holder] = max(held.get(op.holder, 0), now + op.hold)
    return True


def release_slot(system: System, op: ReleaseSlot, now: int) -> bool:
    """Release a slot. An expired one may or may not have been released already."""
    del now
    return system.slots.get(op.scope, {}).pop(op.holder, None) is not None


def take_token(system: System, op: TakeToken, now: int) -> int:
    """Take a token, or return the time until one is available."""
    taken = system.tokens.setdefault(op.scope, [])
    last = taken[-op.limit :]
    if len(last) == op.limit and last[0] + op.per > now:
        return min(last[0] + op.per - now, op.per)
    taken.append(now)
    return 0
