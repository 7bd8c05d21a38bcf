"""The store goes away for seconds while workers work: nothing is lost, and nobody wears himself out."""

from __future__ import annotations

import re
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from asynq import AsynqError, BrokerUnavailable, Client, Task
from tests.faults.conftest import Site, opened
from tests.faults.processes import PATIENCE
from tests.faults.run_log import tally
from tests.servers import RedisServer
from tests.waiting import eventually, let_pass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.faults.processes import Workers

SHORT = 6.0
"""Seconds; the SQLite broker's own patience with a locked file is 5 s."""
LONG = 11.0
BUSY = 0.15
"""Share of a processor a worker may use while there is nothing it can do, starting and stopping included."""
RESUMED = 6.0
"""Seconds after which a worker has noticed that the store is back: a pause between two tries, at most."""
KEPT = 30.0
"""Seconds of a lease that outlasts every outage here."""
LAPSED = 2.0
"""Seconds of a lease that does not."""


class Producer:
    """Enqueues all the time, through the outage, and knows what was acknowledged."""

    def __init__(self, url: str) -> None:
        self._client = Client(url)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.acknowledged: list[str] = []
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.005):
            try:
                answers = self._client.enqueue_many([Task("sleep", b"0.02")] * 10)
            except BrokerUnavailable:
                continue
            self.acknowledged += [info.id for info in answers if not isinstance(info, AsynqError)]

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._client.close()


@contextmanager
def killed(site: Site) -> Iterator[None]:
    assert site.server
    site.server.kill()
    yield
    site.server.restart()


@contextmanager
def hanging(site: Site) -> Iterator[None]:
    assert site.server
    site.server.pause()
    try:
        yield
    finally:
        site.server.resume()


@contextmanager
def locked(site: Site) -> Iterator[None]:
    path = site.url.removeprefix("sqlite:///")
    with closing(sqlite3.connect(path, timeout=5, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """A store of its own, which the test may take away."""
    if request.param == "sqlite":
        with opened(f"sqlite:///{tmp_path / 'tasks.db'}") as site:
            yield site
        return
    with (
        RedisServer.start("--appendonly", "yes", "--appendfsync", "no") as server,
        opened(server.url, server) as site,
    ):
        yield site


@frozen
class Outage:
    """How the store goes away, and for how long."""

    away: Callable[[Site], AbstractContextManager[None]]
    seconds: float
    lease: float

    @property
    def outlasted(self) -> bool:
        """True if the leases outlast it: then nothing may run twice."""
        return self.lease > self.seconds


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("site", "outage"),
    [
        pytest.param("redis", Outage(killed, SHORT, KEPT), id="redis-killed"),
        pytest.param("redis", Outage(killed, SHORT, LAPSED), id="redis-killed-beyond-the-lease"),
        pytest.param("redis", Outage(hanging, LONG, KEPT), id="redis-hanging"),
        pytest.param("redis", Outage(hanging, LONG, LAPSED), id="redis-hanging-beyond-the-lease"),
        pytest.param("sqlite", Outage(locked, SHORT, KEPT), id="sqlite-locked"),
    ],
    indirect=["site"],
)
def test_work_resumes_when_the_store_is_back(
    site: Site, workers: Workers, outage: Outage, report: Callable[..., None]
) -> None:
    producer = Producer(site.url)
    crew = [workers.start(lease=outage.lease) for _ in range(2)]
    eventually(lambda: all(workers.runs.read().of_process(worker.pid) > 50 for worker in crew))
    with outage.away(site):
        before = [worker.cpu() for worker in crew]
        let_pass(outage.seconds)
        shares = [(worker.cpu() - spent) / outage.seconds for worker, spent in zip(crew, before, strict=True)]
    back, ended = time.monotonic(), workers.runs.read().ended
    eventually(lambda: workers.runs.read().ended > ended)
    resumed = time.monotonic() - back
    eventually(lambda: workers.runs.read().ended > ended + 200)
    producer.stop()
    eventually(lambda: not site.size(), PATIENCE)
    assert [worker.terminate() for worker in crew] == [0, 0]
    found = tally(workers.runs.read().notes, producer.acknowledged, ())
    report(
        acknowledged=len(producer.acknowledged),
        never_ended=len(found.never_ended),
        begun_again=found.repeated,
        processor_share_while_away=[round(share, 3) for share in shares],
        resumed_after=round(resumed, 2),
    )
    assert found.never_ended == []
    assert found.unexplained == [] or not outage.outlasted
    assert site.contents().contradictions() == []
    assert site.contents().places == {}
    assert max(shares) < BUSY
    assert resumed < RESUMED
    said = Counter(filter(None, map(change_of_state, workers.output.read_text().splitlines())))
    assert said
    assert max(said.values()) == 1, said


def change_of_state(line: str) -> str:
    """Who says what fails or works again, without when and why; "" for other lines."""
    found = re.match(r"(?:[\d-]+ [\d:,]+ )?(.*?(?:, retrying|(?:works|is reachable) again))", line)
    return found[1] if found else ""
