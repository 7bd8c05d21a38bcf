"""`Deadlines`: many instants at which something expires, with one timer for all of them."""

from __future__ import annotations

import asyncio
import math
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

from asynq.runtime.timeouts import Timer

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_TIMER = 86_400.0
"""Maximum seconds of the timer. Event loops do not accept all numbers."""


class Expiring(Protocol):
    """Something that expires."""

    due: float
    """When it expires, by the clock of the event loop; math.inf for never."""

    def expire(self) -> None:
        """Called once when it is due."""
        ...


class Deadlines:
    """Calls `expire` of each member of a collection when it is due, in the order of their instants.

    Belongs to the running event loop.

    The timer is set for the earliest instant and looks at the collection when it fires. Something that ends
    before it is due needs no call, and most calls of `set` only compare two numbers.

    As for `asynq.runtime.timeouts`, a standstill of this process does not let anything expire before the
    event loop has processed what arrived meanwhile.
    """

    def __init__(self, members: Collection[Expiring]) -> None:
        self._members = members
        self._loop = asyncio.get_running_loop()
        self._timer: Timer | None = None
        self._next = math.inf

    def set(self, member: Expiring, due: float) -> None:
        """Let a member of the collection expire at this instant, and not at an earlier one."""
        member.due = due
        if due < self._next:
            self._arm(due)

    def close(self) -> None:
        """Let nothing expire any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, due: float) -> None:
        self.close()
        self._next = due
        self._timer = Timer(min(due - self._loop.time(), MAX_TIMER), self._expire)

    def _expire(self) -> None:
        # What became due later than this has not had its iterations of the event loop yet.
        now = self._timer.fired_at if self._timer is not None else self._loop.time()
        self._next = math.inf
        due_members = [member for member in self._members if member.due <= now]
        for member in sorted(due_members, key=attrgetter("due")):
            member.due = math.inf
            member.expire()
        due = min((member.due for member in self._members), default=math.inf)
        if due < self._next:
            self._arm(due)
