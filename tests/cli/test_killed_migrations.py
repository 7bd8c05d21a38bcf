"""`asynq migrate --move` killed a few times. tests/faults does it more often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.killed_migrations import killed_moves

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers import RedisServer


@pytest.mark.timeout(240)
@pytest.mark.parametrize("seed", [1])
async def test_a_move_that_is_killed_loses_and_doubles_nothing(
    seed: int, redis_server: RedisServer, tmp_path: Path
) -> None:
    await killed_moves(f"sqlite:///{tmp_path}/tasks.db", redis_server.url, tmp_path, 3, seed)
