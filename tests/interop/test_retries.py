"""Failures that cross the languages: counts, errors and times stay with the task."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.interop.lines import PeerError
from tests.interop.waits import in_state
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.sides import Side

LONG = 3600
"""Seconds until a retry that a test does not wait for."""
SLACK = 10.0
"""Seconds that a test may take between two events that it expects at once."""


def test_a_failed_task_shows_its_error_and_times_to_the_other_language(here: Side, there: Side) -> None:
    there.worker(retry_delay=LONG)
    here.enqueue("fail", "Störung: 失敗".encode(), task_id="a", max_retry=3)
    shown = in_state(here, "retry", "a")
    assert shown == there.task("default", "a")
    assert (shown.retried, shown.max_retry) == (1, 3)
    assert "Störung: 失敗" in shown.last_err
    assert abs(shown.last_failed_at - time.time()) < SLACK
    assert abs(shown.next_process_at - time.time() - LONG) < SLACK
    assert [one.id for one in here.tasks("default", "retry")] == ["a"]


def test_a_retry_runs_in_the_other_language_with_its_count(here: Side, there: Side) -> None:
    first = here.worker(retry_delay=3)
    here.enqueue("fail", b"broken", task_id="a", max_retry=2)
    in_state(there, "retry", "a")
    first.close()
    second = there.worker(retry_delay=1)
    shown = in_state(here, "archived", "a")
    assert [run.retried for run in (*first.runs("a"), *second.runs("a"))] == [0, 1, 2]
    assert {run.max_retry for run in second.runs("a")} == {2}
    assert shown == there.task("default", "a")
    # The last failure of a task spends no retry.
    assert (shown.retried, shown.max_retry) == (2, 2)
    assert "broken" in shown.last_err


def test_a_deadline_of_a_task_holds_for_its_retry_in_the_other_language(here: Side, there: Side) -> None:
    deadline = float(int(time.time()) + 600)
    first = here.worker(retry_delay=3)
    here.enqueue("fail", b"once more", task_id="a", timeout=3600, deadline=deadline, headers={"k": "v"})
    in_state(there, "retry", "a")
    first.close()
    second = there.worker(retry_delay=LONG)
    run = eventually(lambda: second.runs("a"))[0]
    # A Go handler sees the history that Python wrote.
    headers = {name: text for name, text in run.headers.items() if name != "asynq-failures"}
    assert (run.deadline, headers, run.payload) == (deadline, {"k": "v"}, b"once more")


def test_skip_retry_archives_at_once(here: Side, there: Side) -> None:
    there.worker()
    here.enqueue("skip", "unlösbar".encode(), task_id="a", max_retry=5)
    shown = in_state(here, "archived", "a")
    assert "unlösbar" in shown.last_err
    assert (shown.retried, shown.max_retry) == (0, 5)
    assert here.queue("default")["failed"] == there.queue("default")["failed"] == 1


def test_revoke_deletes_the_task_and_releases_its_lock(here: Side, there: Side) -> None:
    worker = there.worker()
    here.enqueue("revoke", b"no more", task_id="a", unique=LONG, retention=LONG)
    eventually(lambda: worker.runs("a"))
    eventually(lambda: here.queue("default")["size"] == 0)
    with pytest.raises(PeerError, match="task not found"):
        here.task("default", "a")
    here.enqueue("revoke", b"no more", unique=LONG)


def test_a_timeout_is_a_failure_that_is_retried(here: Side, there: Side) -> None:
    worker = there.worker(retry_delay=LONG)
    here.enqueue("hold", task_id="a", timeout=1)
    shown = in_state(here, "retry", "a")
    eventually(lambda: worker.told_to_end() == ["a"])
    assert shown.retried == 1
    assert shown.last_err


def test_counters_add_up_over_both_languages(here: Side, there: Side) -> None:
    for side, ids in ((here, ["a", "b"]), (there, ["c", "d", "e"])):
        worker = side.worker(retry_delay=LONG)
        side.enqueue("fail", b"x", task_id=ids[0])
        for task in ids[1:]:
            side.enqueue("ok", task_id=task)
        eventually(lambda worker=worker, ids=ids: len(worker.runs()) == len(ids))  # type: ignore[misc]
        worker.close()
    mine, theirs = here.queue("default"), there.queue("default")
    names = ("processed", "failed", "processed_total", "failed_total", "retry", "size")
    assert [mine[name] for name in names] == [5, 2, 5, 2, 2, 2]
    assert [theirs[name] for name in names] == [5, 2, 5, 2, 2, 2]
