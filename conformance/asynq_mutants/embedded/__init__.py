"""Brokers in memory with one broken step each, by concern. Importing this package registers all of them."""

from __future__ import annotations

from asynq_mutants.embedded import (
    contents,
    events,
    failures,
    followers,
    groups,
    interleaved,
    leases,
    limits,
    manage,
    order,
    schedule,
    sequences,
    sizes,
    times,
    transfer,
    unique,
)

__all__ = [
    "contents",
    "events",
    "failures",
    "followers",
    "groups",
    "interleaved",
    "leases",
    "limits",
    "manage",
    "order",
    "schedule",
    "sequences",
    "sizes",
    "times",
    "transfer",
    "unique",
]
