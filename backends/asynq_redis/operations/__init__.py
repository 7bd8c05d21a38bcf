"""Implements the operations of the broker protocol on Redis, one module per concern."""

from __future__ import annotations

from asynq_redis.operations import (
    consume,
    control,
    describe,
    doctor,
    followers,
    groups,
    inspect,
    limits,
    manage,
    one_round,
    presence,
    schedule,
    transfer,
    upkeep,
)

__all__ = [
    "consume",
    "control",
    "describe",
    "doctor",
    "followers",
    "groups",
    "inspect",
    "limits",
    "manage",
    "one_round",
    "presence",
    "schedule",
    "transfer",
    "upkeep",
]
