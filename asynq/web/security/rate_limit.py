"""Limits on how often a user starts bulk actions."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_USERS = 1000


class RateLimit:
    """A bucket of tokens for each user, which fills up evenly within a minute.

    Args:
        rate: Tokens of a full bucket.
        now: A clock in seconds that nobody sets.
    """

    def __init__(self, rate: int, now: Callable[[], float]) -> None:
        self._rate = rate
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, user: str) -> float:
        """Take a token. 0 if there was one, else the seconds until there is."""
        now = self._now()
        tokens, read_at = self._buckets.pop(user, (float(self._rate), now))
        tokens = min(self._rate, tokens + (now - read_at) * self._rate / 60)
        taken = tokens >= 1
        self._buckets[user] = (tokens - 1 if taken else tokens, now)
        if len(self._buckets) > _MAX_USERS:
            self._buckets.popitem(last=False)
        return 0 if taken else (1 - tokens) * 60 / self._rate
