"""Tasks that Go enqueued, moved to a file and back: Go shows them as before, and its workers run them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from attrs import evolve

from asynq import connect
from asynq.migration import migrate
from asynq.protocol.ops import ExportTask, ListTasks, ReleaseTask, UnpauseQueue
from asynq.task_state import TaskState
from tests.interop.lines import PeerError
from tests.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.interop.conftest import Place
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Shown, Side

Q = "default"


@pytest.fixture(params=["go", "python"])
def producer(request: pytest.FixtureRequest, go: GoSide, python: PythonSide) -> Side:
    """Who enqueues the tasks."""
    return go if request.param == "go" else python


def shown(go: GoSide, name: str) -> Shown:
    """A task as Go shows it, but not that a pending one is due now."""
    task = go.task(Q, name)
    return evolve(task, next_process_at=0) if task.state == "pending" else task


def test_go_runs_tasks_that_were_moved_away_and_back(
    producer: Side, go: GoSide, place: Place, tmp_path: Path
) -> None:
    producer.enqueue("ok", b"1", {"a": "b"}, task_id="plain", max_retry=3, timeout=60)
    producer.enqueue("ok", b"2", task_id="later", process_in=3600)
    producer.enqueue("ok", b"3", task_id="locked", unique=3600)
    producer.enqueue("ok", b"4", task_id="grouped", group="g", unique=3600)
    names = ("plain", "later", "locked", "grouped")
    before = [shown(go, name) for name in names]
    elsewhere = f"sqlite:///{tmp_path}/tasks.db"
    [away] = migrate(place.url, elsewhere, move=True)
    assert (away.transferred, away.refused) == (4, [])
    [back] = migrate(elsewhere, place.url, move=True)
    assert (back.transferred, back.refused) == (4, [])
    assert [shown(go, name) for name in names] == before
    for payload, options in ((b"3", {}), (b"4", {"group": "g"})):
        with pytest.raises(PeerError):
            go.enqueue("ok", payload, unique=3600, **options)  # type: ignore[arg-type]

    broker = connect(place.url)
    broker.execute(UnpauseQueue(queue=Q))
    broker.close()
    worker = go.worker()
    eventually(lambda: worker.runs("plain") and worker.runs("locked"))
    go.one("run", Q, "later")
    go.one("run", Q, "grouped")
    eventually(lambda: worker.runs("later") and worker.runs("grouped"))
    eventually(lambda: go.queue(Q)["size"] == 0)
    assert [run.headers for run in worker.runs("plain")] == [{"a": "b"}]
    go.enqueue("ok", b"3", unique=3600)  # its lock was released by the end of the run


def test_go_sees_a_parked_task_as_one_of_the_far_future(go: GoSide, place: Place) -> None:
    go.enqueue("ok", b"1", task_id="t")
    broker = connect(place.url)
    image = broker.execute(ExportTask(queue=Q, task_id="t", park=True))
    assert image.state is TaskState.PENDING
    assert [task.id for task in go.tasks(Q, "scheduled")] == ["t"]
    assert go.task(Q, "t").next_process_at > 253_370_000_000
    assert broker.execute(ReleaseTask(queue=Q, task_id="t", to="restored"))
    page = broker.execute(ListTasks(queue=Q, state=TaskState.PENDING))
    assert [task.message.id for task in page] == ["t"]
    broker.close()
    worker = go.worker()
    eventually(lambda: worker.runs("t"))
