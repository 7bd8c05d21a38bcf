"""Everything at once: tasks that misbehave, workers and stores that fail, drawn at random.

A short run by default; `--chaos-seconds 300` is the long one, `--chaos-seed` repeats a choice of events.
"""

from __future__ import annotations

import random
import re
import time
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import pytest
from attrs import frozen

from asynq import Inspector, TaskState
from asynq.protocol.ops import GetQueueStats
from asynq_topologies.proxy import Proxy
from tests.faults.chaos import CHILD_SUFFIX, KINDS, Chaos, Crew, Producer
from tests.faults.conftest import Site, opened
from tests.faults.processes import Workers
from tests.servers import RedisServer
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from tests.faults.run_log import RunLog

STUCK_AFTER = 60.0
"""Seconds after the last event in which no task comes to its end, though some are left."""
CONNECTIONS = 60
"""Most connections that four workers, their lease keepers and this test need."""
OUR_FAULT = re.compile(
    r"the (Server|Scheduler|PeriodicTaskManager) crashed|never retrieved|never awaited|Traceback.*asynq/"
    r"|raised an unexpected error, retrying|error of its own|could not be settled"
)
"""What workers say only when something of this library's own went wrong."""


@pytest.fixture
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Site, Proxy | None, Path | None]]:
    """A store of its own, and what stands between it and the workers."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            path = tmp_path / "tasks.db"
            yield stack.enter_context(opened(f"sqlite:///{path}")), None, path
            return
        server = stack.enter_context(RedisServer.start("--appendonly", "yes", "--appendfsync", "no"))
        proxy = stack.enter_context(Proxy(server.port))
        yield stack.enter_context(opened(server.url, server)), proxy, None


@frozen
class Aftermath:
    """What is left when the faults are over and all workers have ended."""

    kinds: Mapping[str, str]
    """The kind of each acknowledged task, by its id."""
    ended: Collection[str]
    """Ids of tasks of which a run came to its end."""
    archived: Collection[str]
    printed: str
    """What all workers logged."""

    @property
    def lost(self) -> dict[str, str]:
        """Acknowledged tasks that did not come to the end of their kind, and the kind of each."""
        return {
            task_id: kind
            for task_id, kind in self.kinds.items()
            if task_id not in (self.archived if KINDS[kind] == "archived" else self.ended)
        }

    @property
    def orphaned(self) -> set[str]:
        """Tasks that enqueued another, which never ran."""
        parents = {task_id for task_id in self.ended if self.kinds.get(task_id) == "enqueue"}
        return {task_id for task_id in parents if task_id + CHILD_SUFFIX not in self.ended}

    @property
    def silent(self) -> list[str]:
        """Archived tasks of which the log says nothing."""
        return [task_id for task_id in self.archived if not re.search(f"ERROR.*{task_id}", self.printed)]

    def check(self) -> None:
        lines = self.printed.splitlines()
        assert self.lost == {}
        assert self.orphaned == set()
        assert self.silent == []
        assert [line for line in lines if OUR_FAULT.search(line)] == []
        assert [line for line in lines if "\x1b" in line or line.startswith("2026-01-01 ERROR")] == []
        # A text of five million letters is not logged whole.
        assert max(map(len, lines)) < 100_000


def drained(store: Site, crew: Crew, runs: RunLog) -> float:
    """Wait until no task is left but archived ones, as long as some end; how many seconds it took."""
    began = time.monotonic()

    ended = 0

    def left() -> int:
        crew.keep()
        stats = store.broker.execute(GetQueueStats(queue="default"))
        return stats.size - stats.archived

    def moved() -> bool:
        return runs.read().ended > ended or not left()

    while left():
        ended = runs.read().ended
        eventually(moved, STUCK_AFTER)
    return round(time.monotonic() - began, 1)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("site", ["redis", "sqlite"], indirect=True)
def test_no_task_is_lost_stuck_or_unlogged_under_combined_faults(
    site: tuple[Site, Proxy | None, Path | None],
    tmp_path: Path,
    pytestconfig: pytest.Config,
    report: Callable[..., None],
) -> None:
    store, proxy, path = site
    seed = pytestconfig.getoption("--chaos-seed")
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    report(seed=seed)
    rng = random.Random(seed)
    with (
        Inspector(store.url) as inspector,
        closing(Workers(proxy.url if proxy else store.url, tmp_path)) as workers,
    ):
        crew = Crew(workers)
        producer = Producer(workers.url, random.Random(rng.random()))
        chaos = Chaos(
            crew=crew,
            rng=rng,
            acknowledged=producer.acknowledged,
            inspector=inspector,
            server=store.server,
            proxy=proxy,
            path=path,
        )
        eventually(lambda: workers.runs.read().ended > 20)
        chaos.run(pytestconfig.getoption("--chaos-seconds"))
        producer.stop()
        chaos.unpause()
        report(events=dict(chaos.happened), tasks=len(producer.acknowledged))
        report(drained_after=drained(store, crew, workers.runs))
        connections = len(store.server.client.client_list()) if store.server else 0
        statuses = crew.stop()
        aftermath = Aftermath(
            kinds=producer.acknowledged,
            ended={note.task_id for note in workers.runs.read().notes if note.what == "end"},
            archived={info.id for info in inspector.tasks("default", TaskState.ARCHIVED)},
            printed=workers.output.read_text(),
        )
    report(
        archived=len(aftermath.archived),
        connections=connections,
        statuses=statuses,
        printed_bytes=len(aftermath.printed),
    )
    aftermath.check()
    assert store.contents().contradictions() == []
    assert statuses == {"workers": [0, 0], "supervisor": [0]}
    assert connections <= CONNECTIONS
