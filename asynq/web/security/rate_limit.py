"""Limits on how often something may be done in a minute."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable


class RateLimit:
    """A bucket of tokens for each key, which fills up evenly within a minute.

    Args:
        rate: Tokens of a full bucket.
        now: A clock in seconds that nobody sets.
        size: The most buckets that are remembered: those that were used last.
    """

    def __init__(self, rate: int, now: Callable[[], float], size: int = 1000) -> None:
        self._rate = rate
        self._now = now
        self._size = size
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        """Number of buckets."""
        return len(self._buckets)

    def take(self, key: Hashable) -> float:
        """Take a token. 0 if there was one, else the seconds until there is."""
        tokens, now = self._tokens(key), self._now()
        taken = tokens >= 1
        self._buckets[key] = (tokens - 1 if taken else tokens, now)
        if len(self._buckets) > self._size:
            self._buckets.popitem(last=False)
        return 0 if taken else (1 - tokens) * 60 / self._rate

    def give_back(self, key: Hashable) -> None:
        """Undo the last taking."""
        tokens = self._tokens(key) + 1
        if tokens < self._rate:
            self._buckets[key] = (tokens, self._now())

    def _tokens(self, key: Hashable) -> float:
        """Remove a bucket, and return what is in it now."""
        now = self._now()
        tokens, read_at = self._buckets.pop(key, (float(self._rate), now))
        return min(self._rate, tokens + (now - read_at) * self._rate / 60)
