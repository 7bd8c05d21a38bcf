"""Tasks somebody damaged while they were stored: each is set aside with a reason, and holds up nobody."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from asynq import AsyncClient, Task
from asynq.protocol.ops import GetQueueStats
from asynq.worker.loops.recoverer import Adopter
from asynq_redis.wire.keys import QueueKeys
from tests.faults.damage_lab import DamageLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.faults.conftest import Site

KEYS = QueueKeys("default")
GARBAGE = bytes(random.Random(1).randbytes(64))
FUZZED = 100
HEADERS = {"a": "b"}
COLUMNS = (
    "type", "payload", "headers", "max_retry", "retried", "error", "last_failed_at", "timeout", "deadline",
    "retention", "completed_at", "unique_key", "group_name", "enqueue_id", "result",
)  # fmt: skip
VALUES = (b"", b"\xff\x00", "", "text", "{", "[]", '{"a": 1}', 0, 1, -1, 2**63 - 1, -(2**63), 1.5, 1e300)
"""What a column of any kind might hold."""


@pytest.fixture
async def lab(site: Site) -> AsyncIterator[DamageLab]:
    lab = DamageLab(site)
    yield lab
    await lab.broker.aclose()


def garble(lab: DamageLab) -> None:
    """What nobody can decode, in the place of the bad task."""
    if lab.site.server:
        assert lab.site.server.client.hset(KEYS.task("bad"), "msg", GARBAGE) == 0
    else:
        lab.sql("UPDATE tasks SET headers = x'ff00', type = CAST(x'ff' AS TEXT) WHERE id = 'bad'")


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "active"])
async def test_a_garbled_task_is_archived_with_the_reason(lab: DamageLab, state: str) -> None:
    await lab.bring(state)
    garble(lab)
    await lab.good_tasks()
    await lab.work_until(lab.archived)
    assert lab.archived().keys() == {"bad"}
    assert lab.archived()["bad"].startswith("set aside: ")
    assert lab.site.contents().contradictions() == []
    assert lab.site.contents().states() == {"archived"}


async def test_a_garbled_completed_task_is_purged_when_its_retention_ends(lab: DamageLab) -> None:
    await lab.bring("completed")
    garble(lab)
    await lab.good_tasks()
    await lab.work_until(lambda: lab.site.size() == 0)


async def test_an_active_task_without_a_lease_is_adopted_and_run(
    lab: DamageLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Adopter, "ADOPTED_LEASE", 100)
    await lab.bring("active")
    if lab.site.server:
        assert lab.site.server.client.zrem(KEYS.lease, "bad") == 1
    else:
        lab.sql("UPDATE tasks SET lease_token = NULL WHERE id = 'bad'")
    await lab.good_tasks()
    await lab.work_until(lambda: lab.runs["bad"] == 1)
    assert lab.site.contents().contradictions() == []


@pytest.mark.parametrize("seed", range(3))
async def test_randomly_damaged_tasks_do_not_affect_others(
    lab: DamageLab, seed: int, report: Callable[..., None]
) -> None:
    rng, ids = random.Random(seed), [f"fuzzed{number}" for number in range(FUZZED)]
    async with AsyncClient(lab.broker) as client:
        await client.enqueue_many([Task("t", "x" * 20, task_id=task_id, headers=HEADERS) for task_id in ids])
    for task_id in ids:
        fuzz(lab, task_id, rng)
    await lab.good_tasks()

    def nothing_waits() -> bool:
        stats = lab.broker.execute(GetQueueStats(queue="default"))
        return stats.pending == stats.active == stats.scheduled == 0

    await lab.work_until(nothing_waits)
    contents, errors = lab.site.contents(), lab.archived().values()
    set_aside = [error for error in errors if error.startswith("set aside: ")]
    report(
        damaged=FUZZED,
        run=sum(lab.runs[task_id] for task_id in ids),
        set_aside=len(set_aside),
        states=contents.states(),
    )
    assert set_aside
    assert contents.states() <= {"archived", "retry", "completed"}
    assert [fault for fault in contents.contradictions() if "lock" not in fault] == []


def fuzz(lab: DamageLab, task_id: str, rng: random.Random) -> None:
    """Damage a stored task somewhere."""
    if lab.site.server:
        client: Any = lab.site.server.client
        stored = bytearray(client.hget(KEYS.task(task_id), "msg"))
        if rng.random() < 0.3:
            del stored[rng.randrange(len(stored)) :]
        for _ in range(rng.choice((1, 1, 3))):
            if stored:
                stored[rng.randrange(len(stored))] = rng.randrange(256)
        if rng.random() < 0.2:
            # Well-formed, but with a number nobody would choose.
            field = rng.choice((5, 6, 8, 9, 11, 12, 13))
            stored += bytes((field << 3,)) + b"\xff" * rng.choice((4, 8, 9)) + b"\x01"
        client.hset(KEYS.task(task_id), "msg", bytes(stored))
    else:
        column, value = rng.choice(COLUMNS), rng.choice(VALUES)
        lab.sql(f"UPDATE tasks SET {column} = ? WHERE id = ?", value, task_id)
