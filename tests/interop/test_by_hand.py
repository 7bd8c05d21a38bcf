"""What an operator does in one language to queues and tasks of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.interop.lines import PeerError
from tests.interop.waits import in_state, is_gone
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.conftest import Place
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Side

LONG = 3600.0


def states(*sides: Side, task: str = "a") -> set[str]:
    """The states in which inspectors show a task."""
    return {side.task("default", task).state for side in sides}


def test_a_task_moves_through_its_states_from_both_sides(here: Side, there: Side) -> None:
    here.enqueue("ok", task_id="a", process_in=LONG)
    assert states(here, there) == {"scheduled"}
    there.one("run", "default", "a")
    assert states(here, there) == {"pending"}
    here.one("archive", "default", "a")
    assert states(here, there) == {"archived"}
    there.one("run", "default", "a")
    assert states(here, there) == {"pending"}
    there.one("archive", "default", "a")
    there.one("delete", "default", "a")
    assert is_gone(here, "a")
    assert is_gone(there, "a")
    assert here.queue("default")["size"] == there.queue("default")["size"] == 0


def test_a_task_that_the_other_side_moved_runs(here: Side, there: Side) -> None:
    here.enqueue("ok", b"x", task_id="a", process_in=LONG)
    there.one("archive", "default", "a")
    there.one("run", "default", "a")
    worker = here.worker()
    eventually(lambda: [run.payload for run in worker.runs("a")] == [b"x"])
    eventually(lambda: is_gone(there, "a"))


@pytest.mark.parametrize("state", ["scheduled", "archived"])
def test_all_tasks_of_a_state_move_at_once(here: Side, there: Side, state: str) -> None:
    count = 120
    for number in range(count):
        here.enqueue("ok", task_id=str(number), process_in=LONG)
    if state == "archived":
        assert there.all("archive", "default", "scheduled") == count
    assert here.queue("default")[state] == there.queue("default")[state] == count
    assert there.all("run", "default", state) == count
    assert here.queue("default")["pending"] == count
    assert here.all("archive", "default", "pending") == count
    assert there.all("delete", "default", "archived") == count
    assert here.queue("default")["size"] == there.queue("default")["size"] == 0


def test_a_pause_holds_in_the_other_language(here: Side, there: Side) -> None:
    here.enqueue("ok", task_id="a", queue="paused")
    here.pause("paused")
    assert there.queue("paused")["paused"]
    worker = there.worker(queues={"paused": 1, "open": 1})
    for task in ("b", "c"):
        here.enqueue("ok", task_id=task, queue="open")
        eventually(lambda task=task: worker.runs(task))  # type: ignore[misc]
    assert worker.runs("a") == []
    there.unpause("paused")
    assert not here.queue("paused")["paused"]
    eventually(lambda: worker.runs("a"))


@pytest.mark.parametrize("verb", ["archive", "delete", "run"])
def test_an_active_task_of_the_other_language_cannot_be_moved(here: Side, there: Side, verb: str) -> None:
    worker = there.worker()
    here.enqueue("hold", task_id="a")
    eventually(lambda: worker.runs("a"))
    with pytest.raises(PeerError, match="other"):
        here.one(verb, "default", "a")
    assert states(here, there) == {"active"}
    with pytest.raises(PeerError, match=r"other|queue not empty"):
        here.delete_queue("default", force=True)
    worker.ask("release")
    eventually(lambda: is_gone(here, "a"))


def test_a_task_that_runs_in_the_other_language_is_cancelled_and_retried(here: Side, there: Side) -> None:
    """It is what Go means by a cancellation, and all that a Go worker can do."""
    worker = there.worker(retry_delay=LONG)
    here.enqueue("hold", task_id="a", max_retry=3)
    eventually(lambda: worker.runs("a"))

    def cancelled() -> bool:
        here.cancel("a")
        return worker.told_to_end() == ["a"]

    eventually(cancelled)
    shown = in_state(here, "retry", "a")
    assert (shown.retried, shown.max_retry) == (1, 3)


def test_unknown_names_are_refused_alike(here: Side, there: Side) -> None:
    here.enqueue("ok", task_id="a")
    for side in (here, there):
        with pytest.raises(PeerError, match="queue not found"):
            side.tasks("nowhere", "pending")
        with pytest.raises(PeerError, match="task not found"):
            side.task("default", "b")
        with pytest.raises(PeerError, match="task not found"):
            side.one("delete", "default", "b")
        with pytest.raises(PeerError, match="queue not empty"):
            side.delete_queue("default")


def test_the_payload_of_a_waiting_task_is_replaced(here: Side, there: Side) -> None:
    here.enqueue("ok", b"old", task_id="a", process_in=LONG, headers={"k": "v"}, max_retry=2)
    there.update("default", "a", b"new \xff")
    shown = here.task("default", "a")
    assert (shown.payload, shown.headers, shown.max_retry) == (b"new \xff", {"k": "v"}, 2)
    here.one("run", "default", "a")
    worker = here.worker()
    eventually(lambda: [run.payload for run in worker.runs("a")] == [b"new \xff"])


def test_an_empty_queue_of_the_other_language_is_deleted(here: Side, there: Side) -> None:
    here.enqueue("ok", task_id="a")
    here.one("delete", "default", "a")
    there.delete_queue("default")
    assert here.queues() == there.queues() == []


def test_python_deletes_all_that_belongs_to_a_queue_of_go(
    go: GoSide, python: PythonSide, place: Place
) -> None:
    worker = go.worker()
    go.enqueue("ok", task_id="done", retention=LONG)
    in_state(go, "completed", "done")
    worker.close()
    go.enqueue("ok", group="g")
    go.enqueue("ok", process_in=LONG)
    go.pause("default")
    python.delete_queue("default", force=True)
    assert place.keys("asynq:{default}:*") == []
    assert go.queues() == []


def test_go_leaves_much_of_a_queue_that_it_deletes(go: GoSide, python: PythonSide, place: Place) -> None:
    worker = python.worker()
    python.enqueue("ok", task_id="done", retention=LONG)
    in_state(python, "completed", "done")
    worker.close()
    python.enqueue("ok", task_id="grouped", group="g")
    python.pause("default")
    go.delete_queue("default")
    left = place.keys("asynq:{default}:*")
    assert {"asynq:{default}:t:done", "asynq:{default}:t:grouped", "asynq:{default}:paused"} <= set(left)
    assert "asynq:{default}:processed" in left
    # The doctor lists the queue again, so that it can be looked at and deleted.
    assert list(python.inspector.doctor(repair=True))
    assert python.queues() == ["default"]
    python.delete_queue("default", force=True)
    assert place.keys("asynq:{default}:*") == []


def test_a_python_worker_lists_a_deleted_queue_that_go_uses_again(go: GoSide, python: PythonSide) -> None:
    go.enqueue("ok", task_id="a")
    python.delete_queue("default", force=True)
    go.enqueue("ok", task_id="b", process_in=LONG)
    # Go adds a queue to the list once in the life of a client.
    assert python.queues() == go.queues() == []
    python.worker()
    eventually(lambda: go.queues() == ["default"])
    assert go.task("default", "b").state == "scheduled"
