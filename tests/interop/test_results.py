"""Results that one language writes and the other reads or waits for."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

import asynq
from tests.interop.waits import in_state, is_gone
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide
    from tests.interop.sides import Side

RESULT = bytes(range(256)) * 300
PATIENCE = timedelta(seconds=60)
KEPT = timedelta(minutes=10)


def test_a_result_is_read_by_the_other_language(here: Side, there: Side) -> None:
    here.enqueue("result", RESULT, task_id="a", retention=600)
    there.worker()
    shown = in_state(here, "completed", "a")
    assert shown.result == RESULT
    assert [one.result for one in here.tasks("default", "completed")] == [RESULT]
    assert there.task("default", "a").result == RESULT


def test_python_waits_for_the_result_of_a_go_worker(go: GoSide, python: PythonSide) -> None:
    go.worker()
    info = python.client.enqueue(asynq.Task("result", RESULT), retention=KEPT)
    assert python.client.wait(info, PATIENCE) == RESULT


def test_python_waits_for_a_json_result_of_a_go_worker(go: GoSide, python: PythonSide) -> None:
    go.worker()
    info = python.client.enqueue(asynq.Task("result", b'{"total":3}'), retention=KEPT)
    assert python.client.wait(info, PATIENCE, result=dict[str, int]) == {"total": 3}


def test_a_wait_ends_with_the_error_of_a_go_worker(go: GoSide, python: PythonSide) -> None:
    go.worker()
    info = python.client.enqueue(asynq.Task("skip", "unmöglich".encode()), retention=KEPT)
    with pytest.raises(asynq.TaskFailedError, match="unmöglich"):
        python.client.wait(info, PATIENCE)


def test_a_wait_ends_when_a_go_worker_revokes_the_task(go: GoSide, python: PythonSide) -> None:
    go.worker()
    info = python.client.enqueue(asynq.Task("revoke"), retention=KEPT)
    with pytest.raises(asynq.TaskGoneError):
        python.client.wait(info, PATIENCE)


def test_a_completed_task_is_deleted_by_the_other_language_when_its_retention_is_over(
    here: Side, there: Side
) -> None:
    first = here.worker()
    here.enqueue("result", b"x", task_id="a", retention=3)
    in_state(there, "completed", "a")
    first.close()
    there.worker()
    eventually(lambda: is_gone(here, "a"))
    assert there.queue("default")["size"] == 0
