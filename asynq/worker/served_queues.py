"""`ServedQueues`: the queues that a server serves at present. Performs no I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    from asynq.worker.queue_limits import QueueLimits
    from asynq.worker.queue_selection import QueuePriority


class ServedQueues(Sequence[str]):
    """The names of the queues that a server serves, heaviest first. They change if it has patterns.

    Background loops keep this object and read it at each step.

    Args:
        preference: the queues and patterns of the server.
        limits: limits on the runs of queues.
    """

    def __init__(self, preference: QueuePriority, limits: QueueLimits) -> None:
        self._given = preference
        self._given_limits = limits
        self.settled = not preference.patterns
        """False until it is known which queues match the patterns."""
        self._apply(preference)

    @overload
    def __getitem__(self, place: int, /) -> str: ...

    @overload
    def __getitem__(self, place: slice, /) -> tuple[str, ...]: ...

    def __getitem__(self, place: int | slice, /) -> str | tuple[str, ...]:
        return self._names[place]

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self.preference.weights

    def would_serve(self, name: str) -> bool:
        """Whether this queue is served, or will be once it is found."""
        return name in self or self._given.pattern_of(name) is not None

    def follow(self, listed: Iterable[str]) -> list[str] | None:
        """Serve those of the listed queues that a pattern stands for, and no others besides the named ones.

        Returns:
            The queues that are new; None if nothing has changed.
        """
        self.settled = True
        before = self.preference
        # Those that were served before keep their places.
        listed = set(listed)
        found = [name for name in before.weights if name in listed] + sorted(listed - before.weights.keys())
        after = self._given.matching(found)
        if after.weights == before.weights:
            return None
        self._apply(after)
        return [name for name in after.weights if name not in before.weights]

    def _apply(self, preference: QueuePriority) -> None:
        self.preference = preference
        """The present queues with their weights."""
        self._names = preference.names
        self.limits = self._given_limits.of_queues(self._names)
        """The limits of the present queues."""
