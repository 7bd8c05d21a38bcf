"""Producers and workers in their own processes on a topology under test, and their results."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from attrs import frozen

from asynq.protocol.connect import connect
from asynq.protocol.ops import GetQueueStats
from tests.programs import program_environment
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

APP = Path(__file__).with_name("app.py")


@frozen
class Line:
    """A task that was acknowledged or has ended."""

    queue: str
    task_id: str
    at: float


class Load:
    """Two workers and two producers, running from the start of the context until `drain`."""

    def __init__(
        self,
        url: str,
        queues: list[str],
        directory: Path,
        *,
        min_replicas: int = 0,
        remap: Mapping[int, int] = MappingProxyType({}),
    ) -> None:
        """`remap` maps the known port of a server to the one at which the processes reach it."""
        self._url = url
        self._remap = ",".join(f"{known}:{port}" for known, port in remap.items())
        self.queues = queues
        self._directory = directory
        self._min_replicas = min_replicas
        self._workers: list[subprocess.Popen[bytes]] = []
        self._producers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self._workers = [self._started("work", number) for number in range(2)]
        self._producers = [self._started("produce", number) for number in range(2)]
        try:
            self.wait_flowing(time.time())
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kill()

    def _kill(self) -> None:
        for process in (*self._workers, *self._producers):
            process.kill()
            process.wait()

    def acknowledged(self) -> list[Line]:
        """Tasks that were acknowledged to producers."""
        return self._lines("produce")

    def ended(self) -> list[Line]:
        """Runs of the workers."""
        return self._lines("work")

    def wait_flowing(self, since: float, queues: list[str] | None = None) -> float:
        """Wait until tasks enqueued after an instant have run in each queue. Returns the seconds it took."""

        def flows() -> bool:
            fresh = {(line.queue, line.task_id) for line in self.acknowledged() if line.at > since}
            done = {line.queue for line in self.ended() if (line.queue, line.task_id) in fresh}
            return done.issuperset(queues or self.queues)

        eventually(flows, explain=lambda: f"tasks do not flow\n{self._logs()}")
        return time.time() - since

    def drain(self) -> Counts:
        """Stop the producers, wait until all tasks are done, and count."""
        for process in self._producers:
            process.kill()
            process.wait()
        broker = connect(self._url)

        def left() -> int:
            answers = broker.execute_many([GetQueueStats(queue=queue) for queue in self.queues])
            return sum(stats.size for stats in answers if not isinstance(stats, Exception)) + sum(
                1 for stats in answers if isinstance(stats, Exception)
            )

        eventually(lambda: left() == 0, explain=lambda: f"{left()} tasks are left\n{self._logs()}")
        broker.close()
        acknowledged, ended = self.acknowledged(), self.ended()
        have_ended = {(line.queue, line.task_id) for line in ended}
        return Counts(
            acknowledged=len(acknowledged),
            lost=[line for line in acknowledged if (line.queue, line.task_id) not in have_ended],
            repeated=len(ended) - len(have_ended),
        )

    def longest_gap(self, queue: str) -> float:
        """The longest pause in seconds between two tasks that ended in a queue."""
        times = sorted(line.at for line in self.ended() if line.queue == queue)
        return max(later - earlier for earlier, later in itertools.pairwise(times))

    def _logs(self) -> str:
        return "\n".join(path.read_text()[-3000:] for path in self._directory.glob("*.log"))

    def _lines(self, what: str) -> list[Line]:
        lines = []
        for path in self._directory.glob(f"{what}-*.out"):
            whole, _, _ = path.read_text().rpartition("\n")
            for line in whole.splitlines():
                queue, task_id, at = line.split()
                lines.append(Line(queue, task_id, float(at)))
        return lines

    def _started(self, what: str, number: int) -> subprocess.Popen[bytes]:
        with (
            (self._directory / f"{what}-{number}.out").open("ab") as out,
            (self._directory / f"{what}-{number}.log").open("ab") as log,
        ):
            return subprocess.Popen(
                [
                    *(sys.executable, str(APP), what, self._url, ",".join(self.queues)),
                    *(str(self._min_replicas), self._remap),
                ],
                env=program_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=log,
            )


@frozen(kw_only=True)
class Counts:
    """Result of a load."""

    acknowledged: int
    lost: list[Line]
    """Tasks that were acknowledged and never ended."""
    repeated: int
    """Number of runs beyond the first of their task."""
