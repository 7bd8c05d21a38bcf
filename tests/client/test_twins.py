"""Blocking classes and their async twins offer the same names with the same parameters."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

import asynq
from asynq.brokerkit.base import CalledBroker
from asynq_redis.base_broker import BaseRedisBroker

TWINS = [
    (asynq.Client, asynq.AsyncClient),
    (asynq.Inspector, asynq.AsyncInspector),
    (asynq.Schedules, asynq.AsyncSchedules),
]
RENAMED = {"aclose": "close"}
"""Async names that the standard library calls differently."""


def public(kind: type) -> dict[str, Any]:
    names = [name for name in dir(kind) if not name.startswith("_")]
    return {RENAMED.get(name, name): getattr(kind, name) for name in names}


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    return [(each.name, each.kind, each.default) for each in inspect.signature(function).parameters.values()]


@pytest.mark.parametrize(("blocking", "awaited"), TWINS)
def test_twins_have_the_same_names_and_parameters(blocking: type, awaited: type) -> None:
    ours, theirs = public(blocking), public(awaited)
    assert ours.keys() == theirs.keys()
    for name, function in ours.items():
        if callable(function):
            assert parameters(function) == parameters(theirs[name]), name
    assert parameters(blocking) == parameters(awaited)


@pytest.mark.parametrize("name", ["write_result", "client"])
def test_a_context_has_both_faces(name: str) -> None:
    assert hasattr(asynq.Context, name)
    assert hasattr(asynq.Context, f"{name}_sync")


@pytest.mark.parametrize("kind", [CalledBroker, BaseRedisBroker])
@pytest.mark.parametrize("name", ["execute", "execute_many", "close"])
def test_a_broker_has_both_faces(kind: type, name: str) -> None:
    assert parameters(getattr(kind, name)) == parameters(getattr(kind, f"a{name}"))


@pytest.mark.parametrize("awaited", [twin for _, twin in TWINS])
async def test_an_async_twin_that_is_closed_connects_again(awaited: Any, tmp_path: Any) -> None:
    twin = awaited(f"sqlite:///{tmp_path}/tasks.db")
    probe = getattr(twin, "ping", None) or getattr(twin, "queues", None) or twin.list
    await probe()
    await twin.aclose()
    await twin.aclose()
    await probe()
    async with twin:
        await probe()


@pytest.mark.parametrize("blocking", [twin for twin, _ in TWINS])
def test_a_blocking_twin_that_is_closed_connects_again(blocking: Any, tmp_path: Any) -> None:
    twin = blocking(f"sqlite:///{tmp_path}/tasks.db")
    probe = getattr(twin, "ping", None) or getattr(twin, "queues", None) or twin.list
    probe()
    twin.close()
    twin.close()
    probe()
    with twin:
        probe()
