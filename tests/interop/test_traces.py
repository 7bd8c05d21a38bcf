"""Traces that pass from one language to the other in the headers of a task."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.testing import run_until_idle
from tests.interop.waits import is_gone
from tests.server.spans import Spans, instrumented, linked, traceparent
from tests.waiting import eventually

if TYPE_CHECKING:
    from asynq import Context, Task
    from tests.interop.go_side import GoSide
    from tests.interop.python_side import PythonSide

OWN = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_go_worker_sees_the_trace_of_a_python_client(go: GoSide, python: PythonSide) -> None:
    with instrumented(Spans()) as spans:
        python.enqueue("ok", b"x", task_id="a", headers={"mine": "1"})
    worker = go.worker()
    eventually(lambda: is_gone(python, "a"))
    [run] = worker.runs("a")
    assert run.headers == {"mine": "1", "traceparent": traceparent(spans.one("send default"))}


def test_a_run_links_to_the_span_that_a_go_client_passed_on(go: GoSide, python: PythonSide) -> None:
    async def handler(ctx: Context, task: Task) -> None: ...

    go.enqueue("ok", b"x", task_id="a", headers={"traceparent": OWN})
    with instrumented(Spans()) as spans:
        run_until_idle(python.client._broker, handler)
    assert linked(spans.one("process default")) == [0xB7AD6B7169203331]
