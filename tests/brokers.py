"""Brokers of each kind, for tests that must hold on all of them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from asynq_redis import RedisBroker
from asynq_sqlite import MemoryBroker, SQLiteBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

    from asynq import Broker

KINDS = ["memory", "sqlite", "redis"]


@contextmanager
def broker_of(request: pytest.FixtureRequest, folder: Path) -> Iterator[Broker]:
    """The broker of the kind that is the parameter of a fixture. It is closed at the end."""
    made: Broker
    if request.param == "redis":
        made = RedisBroker(request.getfixturevalue("redis_server").url)
    else:
        made = MemoryBroker() if request.param == "memory" else SQLiteBroker(folder / "tasks.db")
    yield made
    made.close()
