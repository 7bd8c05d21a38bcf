from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq import connect
from asynq.protocol.ops import Ping
from tests.cli.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "redis"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Commands]:
    """Runs commands on a broker of each kind."""
    url = (
        request.getfixturevalue("redis_server").url
        if request.param == "redis"
        else f"sqlite:///{tmp_path}/tasks.db"
    )
    broker = connect(url)
    broker.execute(Ping())
    yield Commands(url, broker)
    broker.close()
