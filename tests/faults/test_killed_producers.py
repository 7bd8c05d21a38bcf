"""Producers killed in the middle of their batches: what was acknowledged is there, nothing is half there."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Server, TaskIDConflictError
from tests.faults.processes import HERE, Started
from tests.faults.producer import batch
from tests.waiting import aeventually, eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asynq import Context, Task
    from tests.faults.conftest import Site

ROUNDS = 10
TOGETHER = 2
"""Producers at work at the same time."""


def killed_producer(site: Site, name: str, output: Path, lines: int) -> Callable[[], dict[str, set[int]]]:
    """Start a producer. What is returned kills it when it has said so much, and tells what that was."""
    producer = Started([str(HERE / "producer.py"), site.url, name], output)

    def kill() -> dict[str, set[int]]:
        try:
            eventually(lambda: len(producer.printed) >= lines)
        finally:
            producer.kill()
        said: dict[str, set[int]] = {"sent": set(), "acknowledged": set()}
        for line in producer.printed:
            word, number = line.split()
            said[word].add(int(number))
        return said

    return kill


def ids(name: str, numbers: set[int]) -> set[str]:
    return {str(task.options.task_id) for number in numbers for task in batch(name, number)}


@pytest.mark.timeout(180)
async def test_a_killed_producer_leaves_every_acknowledged_task_and_no_partial_one(
    site: Site, tmp_path: Path, report: Callable[..., None]
) -> None:
    sent: dict[str, set[int]] = {}
    acknowledged: set[str] = set()
    for round_ in range(ROUNDS):
        names = [f"p{round_}{who}" for who in range(TOGETHER)]
        kills = {name: killed_producer(site, name, tmp_path / name, 2 * round_ + 1) for name in names}
        for name, kill in kills.items():
            said = kill()
            sent[name] = said["sent"]
            acknowledged |= ids(name, said["acknowledged"])
    known = {task_id for name, numbers in sent.items() for task_id in ids(name, numbers)}

    contents = site.contents()
    there = contents.places.keys()
    report(
        producers_killed=len(sent),
        sent=len(known),
        acknowledged=len(acknowledged),
        there_without_acknowledgement=len(there - acknowledged),
    )
    assert contents.contradictions() == []
    assert acknowledged <= there <= known
    assert len(acknowledged) < len(known)

    # Whoever sends it all again is told of what is there, and no lock of what is not there is in the way.
    with Client(site.url) as client:
        for name, numbers in sent.items():
            for number in numbers:
                for task, answer in zip(
                    tasks := batch(name, number), client.enqueue_many(tasks), strict=True
                ):
                    assert isinstance(answer, TaskIDConflictError) == (task.options.task_id in there)
    assert site.contents().places.keys() == known

    runs = Counter[bytes]()

    async def handler(ctx: Context, task: Task) -> None:
        runs[task.payload] += 1

    server = Server(site.url, concurrency=50, lease=timedelta(seconds=30))
    await server.start(handler)
    await aeventually(lambda: len(runs) >= len(known), 60)
    await server.shutdown()
    emptied = site.contents()
    assert runs == dict.fromkeys((task_id.encode() for task_id in known), 1)
    assert (emptied.places, emptied.locks) == ({}, {})
