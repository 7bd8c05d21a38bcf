"""`asynq migrate --move` killed at random points: nothing is lost, and nothing runs twice."""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Task, connect
from asynq.protocol.ops import GetQueueStats
from tests.killed_migrations import killed_moves
from tests.programs import program_environment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.servers import RedisServer

KILLS = 50
MANY = 100_000


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("way", ["sqlite redis", "redis sqlite"])
async def test_a_move_that_is_killed_again_and_again_loses_and_doubles_nothing(
    way: str, redis_server: RedisServer, tmp_path: Path, report: Callable[..., None]
) -> None:
    urls = {"redis": redis_server.url, "sqlite": f"sqlite:///{tmp_path}/tasks.db"}
    seed = random.randrange(2**32)
    began = time.monotonic()
    source, destination = (urls[kind] for kind in way.split())
    live = await killed_moves(source, destination, tmp_path, KILLS, seed)
    report(seed=seed, killed=live.killed, tasks=len(live.sent), seconds=round(time.monotonic() - began))


@pytest.mark.timeout(900)
@pytest.mark.parametrize("way", ["sqlite redis", "redis sqlite"])
def test_a_long_queue_is_moved_in_bounded_memory(
    way: str, redis_server: RedisServer, tmp_path: Path, report: Callable[..., None]
) -> None:
    urls = {"redis": redis_server.url, "sqlite": f"sqlite:///{tmp_path}/tasks.db"}
    source, destination = (urls[kind] for kind in way.split())
    with Client(source) as client:
        for start in range(0, MANY, 1000):
            client.enqueue_many([Task("t", b"x" * 200) for _ in range(start, start + 1000)])
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    command = [sys.executable, "-m", "asynq", "migrate", source, destination, "--move", "--yes"]
    subprocess.run(command, env=program_environment(), check=True, timeout=800)
    seconds = time.monotonic() - began
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    report(tasks=MANY, seconds=round(seconds), per_second=round(MANY / seconds), most_megabytes=most)
    broker = connect(destination)
    assert broker.execute(GetQueueStats(queue="default")).pending == MANY
    broker.close()
    assert most < 200 or before // 1024 >= most
