from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asynq import TaskInfo, TaskState
from asynq.inspector.outlook import outlook
from asynq.protocol.presence import ServerInfo, WorkerInfo

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
RUN = WorkerInfo(
    task_id="x", task_type="t", payload=b"", queue="q", started_at=NOW - MINUTE, deadline=NOW + MINUTE
)
SERVER = ServerInfo(id="s", host="box", pid=7, started_at=NOW, concurrency=1, workers=(RUN,))


@pytest.mark.parametrize(
    ("state", "fields", "text"),
    [
        ("pending", {}, "It runs as soon as a worker is free."),
        ("pending", {"since": NOW - MINUTE}, "It runs as soon as a worker is free. It has waited for 1m."),
        ("scheduled", {"next_process_at": NOW + MINUTE}, "It is due in 1m, at 2026-01-01 00:01:00 UTC."),
        ("scheduled", {"next_process_at": NOW - MINUTE}, "It is due now."),
        ("scheduled", {"waiting": True, "awaits": (("q", "a"), ("q", "b"))}, "until 2 other tasks succeeded"),
        ("scheduled", {"waiting": True, "sequence": "s"}, "for its turn in sequence 's'"),
        (
            "retry",
            {"retried": 2, "max_retry": 3, "next_process_at": NOW + MINUTE},
            "Retry 2 of 3 is due in 1m",
        ),
        ("retry", {"retried": 2, "max_retry": 3}, "It is archived after 2 more failures."),
        ("retry", {"retried": 3, "max_retry": 3}, "If it fails again, it is archived."),
        ("archived", {}, "It does not run again unless it is run by hand."),
        (
            "completed",
            {"completed_at": NOW, "retention": MINUTE},
            "deleted in 1m, at 2026-01-01 00:01:00 UTC.",
        ),
        ("completed", {"completed_at": NOW - MINUTE, "retention": MINUTE}, "It is deleted now."),
        ("aggregating", {"group": "g"}, "It waits in group 'g'"),
        ("active", {}, "box:7 has run it for 1m. The run must end in 1m"),
        ("active", {"id": "other"}, "A worker runs it. It is archived after 26 failures."),
        ("active", {"max_retry": 0}, "If it fails, it is archived."),
        ("active", {"orphaned": True}, "Its worker is lost."),
    ],
)
def test_it_says_what_happens_next(state: str, fields: dict[str, Any], text: str) -> None:
    task = TaskInfo(**{"id": "x", "queue": "q", "type": "t", "state": TaskState(state)} | fields)
    assert text in outlook(task, server=SERVER, now=NOW)


def test_a_paused_queue_is_said_to_be() -> None:
    task = TaskInfo(id="x", queue="q", type="t", state=TaskState.PENDING)
    assert outlook(task, paused=True, now=NOW) == "It waits: its queue is paused."


def test_a_queue_that_no_server_serves_is_said_to_be() -> None:
    task = TaskInfo(id="x", queue="q", type="t", state=TaskState.PENDING)
    assert outlook(task, served=False, now=NOW) == "It waits: no server serves its queue."
    both = outlook(task, paused=True, served=False, now=NOW)
    assert both == "It waits: its queue is paused, and no server serves its queue."
