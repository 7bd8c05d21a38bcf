from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq_sqlite import MemoryBroker, SQLiteBroker
from tests.brokers import broker_of
from tests.cli.commands import Commands
from tests.dash.driving import Prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "redis"])
def on(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Prepared]:
    """A broker of each kind."""
    with broker_of(request, tmp_path) as made:
        yield Prepared(made)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Commands]:
    """Runs commands on a broker in a file."""
    broker = SQLiteBroker(tmp_path / "tasks.db")
    yield Commands(f"sqlite:///{tmp_path}/tasks.db", broker)
    broker.close()


@pytest.fixture
def memory() -> Prepared:
    """A broker in memory, for what does not depend on the broker."""
    return Prepared(MemoryBroker())
