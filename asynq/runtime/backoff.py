"""Growing pauses between attempts, with jitter."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random


class Backoff:
    """Pauses that double up to a maximum. Each is drawn from the upper half of its span.

    Args:
        rng: source of the jitter.
        first: span of the first pause, in seconds.
        cap: maximum span, in seconds.
    """

    def __init__(self, rng: Random, *, first: float = 0.1, cap: float = 5.0) -> None:
        self._rng = rng
        self._first = first
        self._cap = cap
        self._span = first

    def pause(self) -> float:
        """Return how many seconds to wait before the next attempt."""
        span, self._span = self._span, min(self._span * 2, self._cap)
        return self._rng.uniform(span / 2, span)

    def reset(self) -> None:
        """Start again with the first pause, after a success."""
        self._span = self._first
