"""A database file, and a broker on it with a fake clock."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.clock import FakeClock
from asynq_sqlite import SQLiteBroker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.db"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def broker(path: Path, clock: FakeClock) -> Iterator[SQLiteBroker]:
    broker = SQLiteBroker(path, clock=clock)
    yield broker
    broker.close()
