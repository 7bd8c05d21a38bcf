"""Followers and joins in a mixed fleet: Go workers, which know nothing of them, run all tasks."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from asynq import Task
from asynq.protocol.followers import RESULT_HEADER
from tests.interop.waits import in_state, is_gone
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide

DELIVERED_WITHIN = 120.0
"""Seconds, on a busy machine; a server that has found a parent looks again after about five."""


def header(result: bytes) -> str:
    """A result as a header of a follower."""
    return base64.b64encode(result).decode()


def test_a_python_server_enqueues_what_follows_a_task_that_go_completed(
    go: GoSide, python: PythonSide
) -> None:
    chain = Task("result", b"second", task_id="b", then=Task("ok", task_id="c"))
    python.client.enqueue(Task("result", b"first"), task_id="a", then=chain)
    worker = go.worker()
    assert in_state(go, "completed", "a").result == b"first"
    helper = python.worker()
    workers = (worker, helper)
    eventually(lambda: any(each.runs("c") for each in workers), DELIVERED_WITHIN)
    for task_id, result in (("b", b"first"), ("c", b"second")):
        [run] = [run for each in workers for run in each.runs(task_id)]
        assert run.headers[f"{RESULT_HEADER}0"] == header(result)
    eventually(lambda: is_gone(python, "a"))
    eventually(lambda: python.queue("default")["size"] == 0, DELIVERED_WITHIN)


def test_what_go_did_not_complete_is_not_followed(go: GoSide, python: PythonSide) -> None:
    python.client.enqueue(Task("skip", b""), task_id="a", then=Task("ok", task_id="next"))
    python.client.enqueue(Task("result", b"r"), task_id="b", then=Task("ok", task_id="last"))
    workers = (go.worker(), python.worker())
    eventually(lambda: any(each.runs("last") for each in workers), DELIVERED_WITHIN)
    in_state(python, "archived", "a")
    assert not any(each.runs("next") for each in workers)


def test_a_join_runs_once_after_members_that_go_completed(go: GoSide, python: PythonSide) -> None:
    members = [Task("result", b"%d" % number) for number in range(5)]
    python.client.enqueue_join(members, then=Task("nap", b"", task_id="all"))
    assert go.task("default", "all").state == "scheduled"
    worker = go.worker(concurrency=10)
    eventually(lambda: len(go.tasks("default", "completed")) == len(members))
    workers = (worker, python.worker())
    eventually(lambda: any(each.runs("all") for each in workers), DELIVERED_WITHIN)
    eventually(lambda: python.queue("default")["size"] == 0, DELIVERED_WITHIN)
    [run] = [run for each in workers for run in each.runs("all")]
    results = [run.headers[f"{RESULT_HEADER}{number}"] for number in range(len(members))]
    assert results == [header(b"%d" % number) for number in range(len(members))]
