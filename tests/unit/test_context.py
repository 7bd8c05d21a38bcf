from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import TaskCancelledError, TaskTimeoutError
from asynq.handlers.outcome import Cancelled, Failed, Interrupted, Succeeded
from asynq.protocol.message import Lease
from asynq.protocol.ops import WriteResult
from tests.unit.handler_runs import delivery
from tests.unit.payload_classes import Wrong

if TYPE_CHECKING:
    from asynq.client.task import Task
    from asynq.handlers.context import Context, StopOutcome
    from tests.unit.handler_runs import Runs

LEASE = Lease("default", "id-1", "token")


async def test_a_context_describes_the_run(runs: Runs) -> None:
    message = delivery(retried=3, max_retry=9, headers={"a": "b"}, lease_losses=2)
    ctx = runs.make(lambda ctx, task: None, message).context
    assert (ctx.task_id, ctx.queue, ctx.retried, ctx.max_retry, ctx.lease_losses) == (
        "id-1",
        "default",
        3,
        9,
        2,
    )
    assert ctx.headers == {"a": "b"}
    assert ctx.deadline.utcoffset() is not None
    assert not ctx.cancelled
    assert ctx.cancel_reason is None
    ctx.raise_if_cancelled()


@pytest.mark.parametrize(
    ("stop", "error", "text"),
    [
        (Interrupted("shutdown"), TaskCancelledError, "the task was cancelled: shutdown"),
        (Interrupted("lease_lost"), TaskCancelledError, "the task was cancelled: lease_lost"),
        (Cancelled("archive"), TaskCancelledError, "the task was cancelled: operator"),
        (Failed(TaskTimeoutError("too slow")), TaskTimeoutError, "too slow"),
    ],
)
async def test_raise_if_cancelled_includes_the_reason(
    runs: Runs, stop: StopOutcome, error: type[Exception], text: str
) -> None:
    ctx = runs.make(lambda ctx, task: None).context
    ctx.control.stop = stop
    with pytest.raises(error) as raised:
        ctx.raise_if_cancelled()
    assert str(raised.value) == text


async def test_results_can_be_written_from_the_loop_and_from_threads(runs: Runs) -> None:
    async def on_loop(ctx: Context, task: Task) -> None:
        await ctx.write_result(b"half")
        await ctx.write_result({"percent": 100})

    def in_thread(ctx: Context, task: Task) -> None:
        ctx.write_result_sync("all")

    assert await runs.outcome(on_loop) == Succeeded()
    assert await runs.outcome(in_thread) == Succeeded()
    written = [b"half", b'{"percent":100}', b"all"]
    assert runs.broker.executed == [WriteResult(lease=LEASE, result=result) for result in written]


async def test_a_written_result_is_not_verified(runs: Runs) -> None:
    ctx = runs.make(lambda ctx, task: None).context
    await ctx.write_result(Wrong())
    ctx.write_result_sync([Wrong()])
    written = [b'{"name":null}', b'[{"name":null}]']
    assert runs.broker.executed == [WriteResult(lease=LEASE, result=result) for result in written]


@pytest.mark.parametrize("result", [object(), float("inf")])
async def test_a_result_that_cannot_be_encoded_is_refused_before_it_is_sent(runs: Runs, result: Any) -> None:
    ctx = runs.make(lambda ctx, task: None).context
    with pytest.raises(TypeError, match="result"):
        await ctx.write_result(result)
    with pytest.raises(TypeError, match="result"):
        ctx.write_result_sync(result)
    assert runs.broker.executed == []
