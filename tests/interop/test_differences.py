"""Differences that docs/compatibility.md lists, each shown on both languages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from asynq import Fault
from tests.interop.lines import PeerError
from tests.interop.waits import in_state
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.conftest import Place
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide

LONG = 3600.0
LOCKS = "asynq:{*}:unique:*"


def test_python_archives_a_task_of_go_whose_deadline_has_passed(go: GoSide, python: PythonSide) -> None:
    go.enqueue("ok", task_id="a", deadline=time.time() - 10)
    worker = python.worker()
    shown = in_state(go, "archived", "a")
    assert "deadline" in shown.last_err
    assert worker.runs() == []


def test_go_retries_a_task_of_python_whose_deadline_has_passed(go: GoSide, python: PythonSide) -> None:
    deadline = time.time() + 1
    python.enqueue("hold", task_id="a", deadline=deadline, max_retry=3)
    go.worker(retry_delay=LONG)
    shown = in_state(python, "retry", "a")
    assert (shown.retried, shown.max_retry) == (1, 3)
    assert "deadline" in shown.last_err


def test_an_enqueue_whose_id_is_taken_takes_no_lock_in_python(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    go.enqueue("ok", task_id="a")
    with pytest.raises(PeerError, match="conflict"):
        python.enqueue("ok:other", b"x", task_id="a", unique=LONG)
    assert place.keys(LOCKS) == []
    go.enqueue("ok:other", b"x", unique=LONG)


def test_the_doctor_deletes_a_lock_that_a_refused_enqueue_of_go_left_once_the_task_is_gone(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    python.enqueue("ok", task_id="a")
    with pytest.raises(PeerError, match="conflict"):
        go.enqueue("ok:other", b"x", task_id="a", unique=LONG)
    with pytest.raises(PeerError, match="duplicate"):
        python.enqueue("ok:other", b"x", unique=LONG)
    python.one("delete", "default", "a")
    found = [finding.fault for finding in python.inspector.doctor(repair=True)]
    assert found == [Fault.STRAY_LOCK]
    assert place.keys(LOCKS) == []


def test_a_shared_limit_of_python_counts_the_runs_of_go(go: GoSide, python: PythonSide) -> None:
    owner = go.worker(queues={"limited": 1}, concurrency=1)
    go.enqueue("hold", task_id="a", queue="limited")
    eventually(lambda: owner.runs("a"))
    other = python.worker(queues={"limited": 5, "open": 1}, shared_limits={"limited": 1})
    python.enqueue("ok", task_id="b", queue="limited")
    for task in ("c", "d"):
        python.enqueue("ok", task_id=task, queue="open")
        eventually(lambda task=task: other.runs(task))  # type: ignore[misc]
    assert [one.id for one in go.tasks("limited", "pending")] == ["b"]
    owner.ask("release")
    eventually(lambda: go.queue("limited")["size"] == 0)


def test_schedulers_of_both_languages_enqueue_a_tick_each(go: GoSide, python: PythonSide) -> None:
    entries = {side.name: side.scheduler("@every 1s", "ok:tick", b"x")[1] for side in (go, python)}
    assert entries["go"] != entries["python"]
    for entry in entries.values():
        eventually(lambda entry=entry: len(python.enqueued_by(entry)) >= 2)  # type: ignore[misc]
    enqueued = [set(python.enqueued_by(entry)) for entry in entries.values()]
    assert not enqueued[0] & enqueued[1]
    eventually(lambda: len(python.entries()) == 2)
