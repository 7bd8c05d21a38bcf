"""Limits on failed logins: how often credentials may be guessed."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from asynq.web.security.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

_MANY: Final = 10
"""How many times as often an address may fail with any names, and a name from any addresses."""
_REMEMBERED: Final = 10_000
"""Entries of each table. Who fills them has as many addresses."""


class FailedLogins:
    """Counts failed logins by address, by name, and by both.

    While a name is guessed at one address, other names can log in there, until there are too many failures of
    all names; and the name can log in elsewhere, until there are too many failures at all addresses: then it
    still can at those where it succeeded before.

    Args:
        rate: Failed logins in a minute with one name from one address.
        now: A clock in seconds that nobody sets.
    """

    def __init__(self, rate: int, now: Callable[[], float]) -> None:
        self._by_both = RateLimit(rate, now, _REMEMBERED)
        self._by_address = RateLimit(rate * _MANY, now, _REMEMBERED)
        self._by_name = RateLimit(rate * _MANY, now, _REMEMBERED)
        self._known: OrderedDict[Hashable, None] = OrderedDict()

    def begin(self, address: str, name: str | None) -> float:
        """Count an attempt as failed. 0 if it may be made, else the seconds to wait.

        It is counted before its credentials are looked at, so that attempts at the same time do not all pass.

        Args:
            address: Where it comes from.
            name: Who is to log in; None if the credentials have no name.
        """
        taken: list[tuple[RateLimit, Hashable]] = []
        for limit, key in self._limits(address, name):
            wait = limit.take(key)
            if wait:
                _give_back(taken)
                return wait
            taken.append((limit, key))
        return 0

    def succeeded(self, address: str, name: str | None) -> None:
        """The attempt did not fail."""
        _give_back(self._limits(address, name))
        if name is not None:
            key = (address, _short(name))
            self._known[key] = None
            self._known.move_to_end(key)
            if len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _limits(self, address: str, name: str | None) -> list[tuple[RateLimit, Hashable]]:
        short = None if name is None else _short(name)
        limits: list[tuple[RateLimit, Hashable]] = [
            (self._by_both, (address, short)),
            (self._by_address, address),
        ]
        if short is not None and (address, short) not in self._known:
            limits.append((self._by_name, short))
        return limits


def _give_back(taken: list[tuple[RateLimit, Hashable]]) -> None:
    for limit, key in taken:
        limit.give_back(key)


def _short(name: str) -> bytes:
    """A name of bounded length: the client chooses it."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:16]
