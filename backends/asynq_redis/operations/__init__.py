"""How Redis carries out each operation of the broker protocol: one module a concern."""

from __future__ import annotations

from asynq_redis.operations import (
    consume,
    control,
    doctor,
    groups,
    inspect,
    limits,
    manage,
    presence,
    produce,
    schedule,
    settle,
    upkeep,
)

__all__ = [
    "consume",
    "control",
    "doctor",
    "groups",
    "inspect",
    "limits",
    "manage",
    "presence",
    "produce",
    "schedule",
    "settle",
    "upkeep",
]
