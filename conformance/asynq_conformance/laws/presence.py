"""Laws of presence: WriteServer, ListServers, WriteScheduler, ListSchedulerEntries, RecordEnqueueEvent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from asynq.protocol import ops
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
from asynq_conformance.lab import SECOND, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

NOW = datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ONE_MINUTE = timedelta(minutes=1)
TTL = 10 * SECOND


def worker(number: int = 0) -> WorkerInfo:
    """A running task as its server describes it."""
    return WorkerInfo(
        task_id=f"t{number:03d}",
        task_type="email:welcome",
        payload=b"\x00\xff" + str(number).encode(),
        queue="q",
        started_at=NOW,
        deadline=NOW + 30 * ONE_MINUTE,
    )


def server(number: int = 0, *, workers: int = 0) -> ServerInfo:
    """A server with this number of running tasks."""
    return ServerInfo(
        id=f"s{number}",
        host="höst",
        pid=7,
        started_at=NOW,
        concurrency=200,
        queues={"critical": 6, "low": 1},
        strict_priority=True,
        status="stopped",
        workers=tuple(map(worker, range(workers))),
    )


def entry(number: int = 0, *, prev: datetime | None = None) -> SchedulerEntry:
    """A periodic task."""
    return SchedulerEntry(
        id=f"e{number:03d}",
        spec="*/5 * * * *",
        task_type="report",
        payload=b"\xff",
        options=('Queue("low")', "Timeout(1m30s)"),
        next_enqueue_at=NOW,
        prev_enqueue_at=prev,
    )


@promise("G10")
class PresenceLaws(Laws):
    """Which servers and schedulers are listed, and for how long."""

    @pytest.mark.parametrize("workers", [0, 1, ops.MAX_BATCH, 2 * ops.MAX_BATCH + 20])
    def test_a_server_is_listed_with_its_description(self, lab: Lab, workers: int) -> None:
        lab.execute(ops.WriteServer(server=server(workers=workers), ttl=TTL))
        assert lab.execute(ops.ListServers()) == (server(workers=workers),)

    def test_a_server_is_listed_with_its_latest_description(self, lab: Lab) -> None:
        lab.execute(ops.WriteServer(server=server(workers=60), ttl=TTL))
        last = replace(server(workers=1), status="active", concurrency=1)
        lab.execute(ops.WriteServer(server=last, ttl=TTL))
        assert lab.execute(ops.ListServers()) == (last,)
        lab.execute(ops.WriteServer(server=server(), ttl=TTL))
        assert lab.execute(ops.ListServers()) == (server(),)

    def test_a_deregistered_server_is_not_listed_but_others_are(self, lab: Lab) -> None:
        lab.execute_many([ops.WriteServer(server=server(number, workers=1), ttl=TTL) for number in (1, 0)])
        assert lab.execute(ops.ListServers()) == (server(0, workers=1), server(1, workers=1))
        gone = ops.ClearServer(host="höst", pid=7, server_id="s0")
        lab.execute(gone)
        lab.execute(gone)
        assert lab.execute(ops.ListServers()) == (server(1, workers=1),)

    @promise("G9")
    def test_a_crashed_server_is_listed_until_its_heartbeat_expires(self, lab: Lab) -> None:
        lab.execute(ops.WriteServer(server=server(workers=1), ttl=TTL))
        lab.advance(TTL - 2 * SECOND)
        assert lab.execute(ops.ListServers()) == (server(workers=1),)
        lab.advance(4 * SECOND)
        assert lab.execute(ops.ListServers()) == ()

    @pytest.mark.parametrize("count", [0, 1, 2 * ops.MAX_BATCH + 20])
    def test_entries_are_listed_as_their_scheduler_wrote_them(self, lab: Lab, count: int) -> None:
        entries = tuple(map(entry, range(count)))
        lab.execute(ops.WriteScheduler(scheduler_id="h:1:a", entries=entries[::-1], ttl=TTL))
        assert lab.execute(ops.ListSchedulerEntries()) == entries

    @pytest.mark.parametrize("left", [(entry(2),), ()])
    def test_removed_entries_are_not_listed(self, lab: Lab, left: tuple[SchedulerEntry, ...]) -> None:
        for entries in ((entry(1), entry(2)), left):
            lab.execute(ops.WriteScheduler(scheduler_id="h:1:a", entries=entries, ttl=TTL))
        assert lab.execute(ops.ListSchedulerEntries()) == left

    def test_entries_of_a_deregistered_scheduler_are_not_listed(self, lab: Lab) -> None:
        for name, entries in (("h:1:a", (entry(1), entry(2))), ("h:1:b", (entry(2), entry(3)))):
            lab.execute(ops.WriteScheduler(scheduler_id=name, entries=entries, ttl=TTL))
        lab.execute(ops.ClearScheduler(scheduler_id="h:1:a"))
        assert lab.execute(ops.ListSchedulerEntries()) == (entry(2), entry(3))

    @promise("G9")
    def test_entries_of_a_crashed_scheduler_are_listed_until_its_heartbeat_expires(self, lab: Lab) -> None:
        lab.execute(ops.WriteScheduler(scheduler_id="h:1:a", entries=(entry(),), ttl=TTL))
        lab.advance(TTL - 2 * SECOND)
        assert lab.execute(ops.ListSchedulerEntries()) == (entry(),)
        lab.advance(4 * SECOND)
        assert lab.execute(ops.ListSchedulerEntries()) == ()

    def test_an_entry_of_several_schedulers_is_listed_once_with_its_latest_tick(self, lab: Lab) -> None:
        known = {"h:1:a": None, "h:1:b": NOW, "h:1:c": NOW - ONE_MINUTE}
        for name, prev in known.items():
            lab.execute(ops.WriteScheduler(scheduler_id=name, entries=(entry(prev=prev),), ttl=TTL))
        assert lab.execute(ops.ListSchedulerEntries()) == (entry(prev=NOW),)

    # --- events ---------------------------------------------------------------------------------------

    def record(self, lab: Lab, *numbers: int, keep: int = TTL) -> None:
        """Record an event for each number; a greater number is a later event."""
        lab.execute_many(
            [
                ops.RecordEnqueueEvent(
                    entry_id="e",
                    event=EnqueueEvent(task_id=f"t{number}", enqueued_at=NOW + number * ONE_MINUTE),
                    keep=keep,
                )
                for number in numbers
            ]
        )

    def events(self, lab: Lab, offset: int = 0, limit: int = 30, entry_id: str = "e") -> list[str]:
        """Task ids in the order of the list."""
        page = lab.execute(ops.ListEnqueueEvents(entry_id=entry_id, offset=offset, limit=limit))
        return [event.task_id for event in page]

    def test_enqueue_events_are_listed_in_pages_latest_first(self, lab: Lab) -> None:
        self.record(lab, 2, 1, 3)
        assert self.events(lab) == ["t3", "t2", "t1"]
        assert self.events(lab, 1, 1) == ["t2"]
        assert self.events(lab, 3) == []
        assert self.events(lab, 0, 0) == []
        assert self.events(lab, entry_id="other") == []
        (latest, *_) = lab.execute(ops.ListEnqueueEvents(entry_id="e"))
        assert latest.enqueued_at == NOW + 3 * ONE_MINUTE

    def test_an_event_recorded_twice_is_listed_once(self, lab: Lab) -> None:
        self.record(lab, 1, 1)
        assert self.events(lab) == ["t1"]

    def test_only_the_latest_enqueue_events_are_kept(self, lab: Lab) -> None:
        self.record(lab, *range(ops.MAX_ENQUEUE_EVENTS + 2))
        kept = self.events(lab, 0, 2 * ops.MAX_ENQUEUE_EVENTS)
        assert kept == [f"t{number}" for number in range(ops.MAX_ENQUEUE_EVENTS + 1, 1, -1)]

    @promise("G9")
    def test_enqueue_events_expire_after_the_last_one(self, lab: Lab) -> None:
        self.record(lab, 1)
        lab.advance(TTL - 2 * SECOND)
        self.record(lab, 2)
        lab.advance(TTL - 2 * SECOND)
        assert self.events(lab) == ["t2", "t1"]
        lab.advance(4 * SECOND)
        assert self.events(lab) == []
