"""Uniqueness locks that one language takes hold in the other, and end with their task, whoever ends it."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import DuplicateTaskError, Fault, Task
from tests.interop.lines import PeerError
from tests.interop.waits import in_state
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.conftest import Place
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Shown, Side

LONG = 3600
"""Seconds that a lock is held unless something ends it."""
TYPE, PAYLOAD = "ok:unique", b"the same"
LOCKS = "asynq:{*}:unique:*"

WAITING = ("pending", "scheduled", "retry", "archived")
"""States in which a task waits with its lock held."""


def waiting(owner: Side, other: Side, state: str, task: str = "a") -> Shown:
    """A unique task in a state, enqueued by one side and brought there by the other."""
    match state:
        case "scheduled":
            return owner.enqueue(TYPE, PAYLOAD, task_id=task, unique=LONG, process_in=LONG)
        case "aggregating":
            return owner.enqueue(TYPE, PAYLOAD, task_id=task, unique=LONG, group="g")
        case "retry":
            worker = other.worker(retry_delay=LONG)
            owner.enqueue("fail", PAYLOAD, task_id=task, unique=LONG)
            info = in_state(owner, state, task)
            worker.close()
            return info
    info = owner.enqueue(TYPE, PAYLOAD, task_id=task, unique=LONG)
    if state == "archived":
        other.one("archive", "default", task)
    return info


def again(side: Side, info: Shown) -> Shown:
    """Enqueue a task that the lock of another one refuses."""
    return side.enqueue(info.type, PAYLOAD, unique=LONG)


def test_a_lock_refuses_duplicates_in_both_languages(here: Side, there: Side) -> None:
    info = waiting(here, there, "pending")
    for side in (there, here):
        with pytest.raises(PeerError, match="duplicate"):
            again(side, info)
        with pytest.raises(PeerError, match="duplicate"):
            side.enqueue(TYPE, PAYLOAD, unique=LONG, group="g")
    there.enqueue(TYPE, b"another", unique=LONG)
    there.enqueue("ok:other", PAYLOAD, unique=LONG)
    there.enqueue(TYPE, PAYLOAD, unique=LONG, queue="other")
    there.enqueue(TYPE, PAYLOAD)


def test_an_empty_payload_has_the_same_lock_in_both_languages(here: Side, there: Side) -> None:
    here.enqueue(TYPE, b"", unique=LONG)
    with pytest.raises(PeerError, match="duplicate"):
        there.enqueue(TYPE, b"", unique=LONG)


def test_a_task_without_payload_has_a_lock_of_its_own_in_both_languages(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    go.ask("enqueue", type=TYPE, payload=None, options={"unique": LONG})
    python.enqueue(TYPE, b"", unique=LONG)
    nil, empty = place.keys(LOCKS)
    assert nil == f"asynq:{{default}}:unique:{TYPE}:"
    assert empty.startswith(nil)
    with pytest.raises(DuplicateTaskError):
        python.client.enqueue(Task(TYPE), unique=timedelta(hours=1))


def test_a_lock_ends_when_its_time_is_over(here: Side, there: Side, place: Place) -> None:
    info = here.enqueue(TYPE, PAYLOAD, unique=1)
    eventually(lambda: not place.keys(LOCKS))
    again(there, info)


def test_both_languages_hold_the_lock_of_a_scheduled_task_until_after_it_is_due(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    due = time.time() + 600
    for side in (go, python):
        side.enqueue(TYPE, side.name.encode(), unique=300, process_at=due)
    times = [place.client_of(key).ttl(key) for key in place.keys(LOCKS)]
    assert len(times) == 2
    assert all(870 <= seconds <= 902 for seconds in times)


@pytest.mark.parametrize("retention", [0, LONG], ids=["deleted", "kept"])
def test_the_end_of_the_run_releases_the_lock(
    here: Side, there: Side, place: Place, retention: float
) -> None:
    there.worker()
    info = here.enqueue(TYPE, PAYLOAD, unique=LONG, retention=retention)
    eventually(lambda: not place.keys(LOCKS))
    again(here, info)


def test_archiving_keeps_the_lock(here: Side, there: Side) -> None:
    info = waiting(here, there, "archived")
    for side in (here, there):
        with pytest.raises(PeerError, match="duplicate"):
            again(side, info)


def test_a_failure_keeps_the_lock_until_the_last_retry_succeeds(
    here: Side, there: Side, place: Place
) -> None:
    info = waiting(here, there, "retry")
    with pytest.raises(PeerError, match="duplicate"):
        again(here, info)
    assert len(place.keys(LOCKS)) == 1


@pytest.mark.parametrize("state", WAITING)
def test_deleting_one_task_of_the_other_language_releases_its_lock(
    here: Side, there: Side, place: Place, state: str
) -> None:
    info = waiting(here, there, state)
    there.one("delete", "default", "a")
    assert place.keys(LOCKS) == []
    again(there, info)


def test_go_releases_the_lock_of_a_task_it_deletes_from_a_group(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    info = waiting(python, go, "aggregating")
    go.one("delete", "default", "a")
    assert place.keys(LOCKS) == []
    again(python, info)


def test_python_releases_the_lock_of_a_task_it_deletes_from_a_group(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    info = waiting(go, python, "aggregating")
    python.one("delete", "default", "a")
    assert place.keys(LOCKS) == []
    again(python, info)


def test_the_lock_of_a_grouped_task_ends_with_its_run(here: Side, there: Side, place: Place) -> None:
    info = waiting(here, there, "aggregating")
    there.one("run", "default", "a")
    there.worker()
    eventually(lambda: not place.keys(LOCKS))
    again(here, info)


@pytest.mark.parametrize("enqueued_by", ["go", "python"])
def test_python_releases_the_lock_of_a_task_it_aggregates(
    go: GoSide, python: PythonSide, place: Place, enqueued_by: str
) -> None:
    info = waiting(go if enqueued_by == "go" else python, python, "aggregating")
    worker = python.worker(aggregate=True)
    eventually(worker.runs)
    eventually(lambda: python.queue("default")["size"] == 0)
    assert place.keys(LOCKS) == []
    again(python, info)


@pytest.mark.parametrize("state", [*WAITING, "aggregating"])
def test_python_releases_the_locks_of_all_tasks_it_deletes_in_a_state(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(go, python, state)
    assert python.all("delete", "default", state) == 1
    assert place.keys(LOCKS) == []
    again(python, info)


@pytest.mark.parametrize("state", ["scheduled", "retry", "archived"])
def test_go_releases_the_locks_of_all_tasks_it_deletes_in_a_state(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(python, go, state)
    assert go.all("delete", "default", state) == 1
    assert place.keys(LOCKS) == []
    again(go, info)


@pytest.mark.parametrize("state", [*WAITING, "aggregating"])
def test_python_releases_the_locks_of_a_queue_it_purges(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(go, python, state)
    assert python.inspector.purge("default") == 1
    assert place.keys(LOCKS) == []
    again(python, info)


@pytest.mark.parametrize("state", [*WAITING, "aggregating"])
def test_python_releases_the_locks_of_a_queue_it_deletes(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(go, python, state)
    python.delete_queue("default", force=True)
    assert place.keys("asynq:{default}:*") == []
    again(python, info)


@pytest.mark.parametrize("state", ["pending", "aggregating"])
def test_python_releases_the_lock_of_a_task_it_trims_from_the_archive(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(go, python, state)
    python.one("archive", "default", "a")
    archive = "asynq:{default}:archived"
    long_ago = int(time.time()) - 91 * 86400
    place.client_of(archive).zadd(archive, {"a": long_ago})
    python.enqueue("ok", task_id="b")
    python.one("archive", "default", "b")
    assert [one.id for one in go.tasks("default", "archived")] == ["b"]
    assert place.keys(LOCKS) == []
    again(python, info)


@pytest.mark.parametrize("state", ["pending", "aggregating"])
def test_python_releases_the_lock_of_an_archived_task_that_makes_room_for_another(
    go: GoSide, python: PythonSide, place: Place, state: str
) -> None:
    info = waiting(go, python, state)
    python.one("archive", "default", "a")
    python.client.enqueue(Task("ok", b"another"), task_id="a", on_conflict="replace_finished")
    assert place.keys(LOCKS) == []
    again(python, info)


def test_python_moves_the_lock_with_the_payload_of_a_task_of_go(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    info = waiting(go, python, "scheduled")
    python.update("default", "a", b"another")
    again(python, info)
    with pytest.raises(PeerError, match="duplicate"):
        go.enqueue(TYPE, b"another", unique=LONG)
    assert go.task("default", "a").payload == b"another"


def delete_all_pending(go: GoSide) -> None:
    assert go.all("delete", "default", "pending") == 1


def delete_group(go: GoSide) -> None:
    assert go.all("delete", "default", "aggregating", "g") == 1


def delete_queue(go: GoSide) -> None:
    go.delete_queue("default", force=True)


@pytest.mark.parametrize(
    ("state", "deletion"),
    [("pending", delete_all_pending), ("aggregating", delete_group), ("pending", delete_queue)],
)
def test_the_doctor_deletes_locks_that_deletions_of_go_leave(
    go: GoSide, python: PythonSide, place: Place, state: str, deletion: Callable[[GoSide], None]
) -> None:
    info = waiting(python, go, state)
    deletion(go)
    with pytest.raises(PeerError, match="duplicate"):
        again(python, info)
    # The doctor looks at the queues that are listed.
    python.enqueue("ok")
    found = [finding.fault for finding in python.inspector.doctor(repair=True)]
    assert Fault.STRAY_LOCK in found
    assert place.keys(LOCKS) == []
    again(go, info)
