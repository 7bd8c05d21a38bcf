"""A move of a live queue that is killed again and again, with a producer, and workers on both sides."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from asynq import AsyncClient, RetryIn, Server, Task, connect
from asynq.protocol.ops import GetQueueStats, ListParked
from tests.programs import program_environment
from tests.waiting import aeventually

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

    from asynq import Context
    from asynq.protocol.broker import Broker

Q = "default"
SEQUENCES = 5
LONGEST_WAY = 400
"""Tasks that a process transfers at most until it is killed."""


class LiveMove:
    """Two brokers with a worker each, and a producer of the first one."""

    def __init__(self, source: str, destination: str, directory: Path, seed: int) -> None:
        self.urls = (source, destination)
        self.brokers = (connect(source), connect(destination))
        self.output = directory / "migrate.log"
        self.random = random.Random(seed)
        self.sent: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.order: list[str] = []
        self.killed = 0
        self._servers = [Server(url, concurrency=5, lease=timedelta(seconds=30)) for url in self.urls]

    async def __aenter__(self) -> Self:
        for server in self._servers:
            await server.start(self._handle)
        return self

    async def __aexit__(self, *_: object) -> None:
        for server in self._servers:
            await server.shutdown()
        for broker in self.brokers:
            broker.close()

    async def _handle(self, ctx: Context, task: Task) -> None:
        del ctx
        name = task.payload.decode()
        if name.startswith("again") and name not in self.runs:
            self.runs[name] = 0
            raise RetryIn(timedelta(seconds=1))  # it waits for its retry, perhaps on the other side
        self.runs[name] += 1
        self.order.append(name)

    async def produce(self, count: int) -> None:
        """Enqueue tasks of all kinds into the source."""
        first = len(self.sent)
        async with AsyncClient(self.urls[0]) as client:
            for number in range(first, first + count):
                kind = ("plain", "plain", "again", "later", "locked", "ordered")[number % 6]
                name = f"{kind}-{number:06}"
                kinds: dict[str, dict[str, Any]] = {
                    "later": {"process_in": timedelta(seconds=self.random.randrange(1, 4))},
                    "locked": {"unique": timedelta(minutes=10)},
                    "ordered": {"sequence": f"s{number % SEQUENCES}"},
                }
                await client.enqueue(Task("t", name, task_id=name, **kinds.get(kind, {})), queue=Q)
                self.sent.add(name)

    def arrived(self) -> int:
        """Tasks that are or were in the destination."""
        return self._size(self.brokers[1]) + len(self.order)

    async def move_and_kill(self) -> None:
        """Start the command and kill it on its way, if it does not end before."""
        process = self._start()
        try:
            goal = self.arrived() + self.random.randrange(1, LONGEST_WAY)
            await aeventually(lambda: process.poll() is not None or self.arrived() >= goal, 120)
            self.killed += process.poll() is None
        finally:
            process.kill()
            process.wait()

    async def finish(self) -> None:
        """Run the command to its end, again and again, until nothing is left in the source."""
        for _ in range(5):
            process = self._start("--wait")
            status = await asyncio.to_thread(process.wait, 300)
            assert status == 0, self.output.read_text()[-3000:]
            if not self._size(self.brokers[0]):
                break
        await aeventually(lambda: not self._size(self.brokers[1]), 120)

    def judge(self) -> None:
        """Every task ran once, those of a sequence in their order, and nothing is left anywhere."""
        assert self.runs == dict.fromkeys(self.sent, 1), self._differences()
        ordered = [name for name in self.order if name.startswith("ordered")]
        for number in range(SEQUENCES):
            ran = [name for name in ordered if _number(name) % SEQUENCES == number]
            assert ran == sorted(ran)
        for broker in self.brokers:
            assert self._size(broker) == 0
            assert broker.execute(ListParked(queue=Q)) == ()

    def _differences(self) -> str:
        lost = sorted(self.sent - self.runs.keys())[:10]
        doubled = [name for name, count in self.runs.items() if count > 1][:10]
        return f"lost: {lost}, doubled: {doubled}"

    def _start(self, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "asynq", "migrate", *self.urls, "--move", "--yes", *options]
        with self.output.open("ab") as stream:
            return subprocess.Popen(
                command, env=program_environment(), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream
            )

    def _size(self, broker: Broker) -> int:
        try:
            return broker.execute(GetQueueStats(queue=Q)).size
        except Exception:  # noqa: BLE001 - the queue does not exist yet
            return 0


def _number(name: str) -> int:
    return int(name.rpartition("-")[2])


async def killed_moves(source: str, destination: str, directory: Path, kills: int, seed: int) -> LiveMove:
    """Move a live queue, and kill this so many times on the way."""
    live = LiveMove(source, destination, directory, seed)
    await live.produce(1000)
    async with live:
        while live.killed < kills:
            await asyncio.gather(live.move_and_kill(), live.produce(250))
        await live.finish()
        live.judge()
    return live
