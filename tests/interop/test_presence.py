"""Servers, runs and periodic tasks of one language as the other sees them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import ServerShown, Side

LONG = 3600.0


def server_of(side: Side, pid: int) -> ServerShown | None:
    """The server of a process, as a side sees it."""
    return next((server for server in side.servers() if server.pid == pid), None)


def test_a_server_and_its_runs_are_seen_by_the_other_language(here: Side, there: Side) -> None:
    worker = here.worker(queues={"critical": 6, "niedrig-ä": 1}, concurrency=3)
    there.enqueue("hold:ü", b"\x00payload", task_id="a", queue="niedrig-ä")
    eventually(lambda: (server := server_of(there, worker.pid)) and server.runs)
    server = server_of(there, worker.pid)
    assert server
    assert server == server_of(here, worker.pid)
    assert (server.concurrency, server.queues) == (3, {"critical": 6, "niedrig-ä": 1})
    assert server.status == "active"
    assert server.runs == (("a", "hold:ü", b"\x00payload", "niedrig-ä"),)
    worker.ask("release")
    worker.close()
    assert there.servers() == here.servers() == []


def test_a_killed_server_is_no_longer_seen(here: Side, there: Side) -> None:
    worker = here.worker()
    eventually(lambda: server_of(there, worker.pid))
    worker.kill()
    eventually(lambda: server_of(there, worker.pid) is None)


def test_an_active_task_is_listed_by_the_other_language(here: Side, there: Side) -> None:
    worker = here.worker()
    there.enqueue("hold", task_id="a")
    eventually(lambda: worker.runs("a"))
    for side in (here, there):
        [active] = side.tasks("default", "active")
        assert (active.id, active.state, active.orphaned) == ("a", "active", False)
        assert side.queue("default")["active"] == 1


def test_entries_and_what_they_enqueued_are_seen_by_the_other_language(here: Side, there: Side) -> None:
    scheduler, entry = here.scheduler(
        "@every 1s",
        "ok:tick",
        b"\xfepayload",
        queue="ticks",
        max_retry=3,
        timeout=90,
        retention=60,
    )
    eventually(lambda: len(there.enqueued_by(entry)) >= 2)
    eventually(lambda: [one for one in there.entries() if one.prev])
    [seen] = there.entries()
    assert (seen.id, seen.spec, seen.type, seen.payload) == (entry, "@every 1s", "ok:tick", b"\xfepayload")
    assert sorted(seen.options) == ["MaxRetry(3)", 'Queue("ticks")', "Retention(1m0s)", "Timeout(1m30s)"]
    assert abs(seen.next - time.time()) < 30
    assert 0 < seen.prev <= seen.next
    enqueued = set(there.enqueued_by(entry))
    assert enqueued <= set(here.enqueued_by(entry))
    worker = there.worker(queues={"ticks": 1})
    eventually(lambda: enqueued <= {run.task for run in worker.runs()})
    assert {(run.type, run.payload, run.max_retry) for run in worker.runs()} == {
        ("ok:tick", b"\xfepayload", 3)
    }
    scheduler.close()
    assert there.entries() == here.entries() == []


def test_go_shows_an_entry_once_for_each_scheduler_of_python(go: GoSide, python: PythonSide) -> None:
    programs = [python.scheduler("@every 1h", "ok:tick", b"x") for _ in range(2)]
    assert len({entry for _, entry in programs}) == 1
    eventually(lambda: len(go.entries()) == 2)
    assert len(python.entries()) == 1
    assert {one.id for one in go.entries()} == {programs[0][1]}
    for one in go.entries():
        assert one.prev == 0


def test_two_schedulers_of_python_enqueue_each_tick_once_for_go(go: GoSide, python: PythonSide) -> None:
    schedulers = [python.scheduler("@every 1s", "ok:tick", b"x") for _ in range(2)]
    worker = go.worker()
    eventually(lambda: len(worker.runs()) >= 4)
    entry = schedulers[0][1]
    # A tick has its time as its score, and two of one tick would have the same one.
    events = list(python.inspector.enqueue_events(entry))
    instants = [int(event.enqueued_at.timestamp()) for event in events]
    assert len(instants) == len(set(instants))
