"""Weighted preferences: whether what was drawn, or served, follows the weights.

Each test rejects a true sampler with a probability of at most ALPHA; with a fixed seed it always gives the
same answer.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import permutations
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

T = TypeVar("T")

ALPHA: Final = 1e-6
"""Chance that one test accuses a sampler that is right."""


def chances(weights: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    """How likely each complete order is, when one queue after the other is drawn by its weight."""
    found = {}
    for order in permutations(weights):
        chance, left = 1.0, sum(weights.values())
        for queue in order:
            chance *= weights[queue] / left
            left -= weights[queue]
        found[order] = chance
    return found


def p_value(observed: Mapping[T, int], expected: Mapping[T, float]) -> float:
    """Chance that a sampler of these chances differs from them at least as much as was observed (G-test).

    Good for a few hundred draws and more. 0 when something was drawn that has no chance.
    """
    if observed.keys() - expected.keys():
        return 0.0
    total = sum(observed.values())
    statistic = 2 * sum(
        count * math.log(count / (total * expected[what])) for what, count in observed.items() if count
    )
    return chi_square_tail(max(statistic, 0.0), len(expected) - 1)


def chi_square_tail(statistic: float, degrees: int) -> float:
    """Chance that a chi-square of so many degrees of freedom is at least this big."""
    half = statistic / 2
    if degrees % 2:
        tail, term, rank = (
            math.erfc(math.sqrt(half)),
            math.sqrt(half) * math.exp(-half) / math.gamma(1.5),
            1.5,
        )
    else:
        tail, term, rank = math.exp(-half), half * math.exp(-half), 2.0
    for _ in range((degrees - 1) // 2):
        tail += term
        term *= half / rank
        rank += 1
    return tail


def first_choices_follow(orders: Iterable[Sequence[str]], weights: Mapping[str, int]) -> bool:
    """True unless the queues that stand first differ from w/sum(w) by more than chance explains.

    At 4,000 draws of weights 6:3:1, equal chances are always found out, and a drift of five points in nine
    cases of ten.
    """
    total = sum(weights.values())
    expected = {queue: weight / total for queue, weight in weights.items()}
    return p_value(Counter(order[0] for order in orders), expected) >= ALPHA


def orders_follow(orders: Iterable[Sequence[str]], weights: Mapping[str, int]) -> bool:
    """True unless whole orders differ from draws without replacement by more than chance explains."""
    return p_value(Counter(map(tuple, orders)), chances(weights)) >= ALPHA


def nobody_starves(orders: Iterable[Sequence[str]], weights: Mapping[str, int]) -> bool:
    """True if every queue stands first at least once.

    Of 300 draws of weights 6:3:1 the lightest is never the first with a probability of 2e-14.
    """
    return weights.keys() <= {order[0] for order in orders}
