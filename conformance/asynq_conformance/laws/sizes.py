"""Laws of values larger than the broker's stated limit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from asynq.errors import PayloadTooLargeError, ResultTooLargeError
from asynq.protocol import ops
from asynq.protocol.transfer import TaskImage
from asynq.task_state import TaskState
from asynq_conformance.lab import HOUR
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.message import TaskMessage
    from asynq_conformance.lab import Lab

LARGEST_TESTED = 1 << 30
"""Largest limit that is tested, in bytes: larger values would not fit into the memory of many machines."""


def _limit(lab: Lab) -> int:
    """The largest value that the broker accepts, in bytes."""
    limit = lab.broker.capabilities.max_value_bytes
    if limit is None:
        pytest.skip("the broker states no limit")
    if limit > LARGEST_TESTED:
        pytest.skip(f"the limit of {limit} bytes is too large for a test")
    return limit


def _too_large(lab: Lab, task_id: str = "large") -> TaskMessage:
    return lab.message(task_id, payload=bytes(_limit(lab) + 1))


@promise("G10")
class SizeLaws(Laws):
    """A value above the stated limit is refused, changes nothing and does not affect other operations."""

    def test_a_payload_above_the_limit_is_refused_and_the_rest_of_its_batch_succeeds(self, lab: Lab) -> None:
        limit = _limit(lab)
        messages = [lab.message("a"), _too_large(lab), lab.message("b")]
        answers = lab.execute_many(
            [ops.Enqueue(message=message, enqueue_id=lab.fresh()) for message in messages]
        )
        refused = answers[1]
        assert isinstance(refused, PayloadTooLargeError)
        assert (refused.queue, refused.task_id) == ("q", "large")
        assert (refused.size, refused.limit, refused.maybe_applied) == (limit + 1, limit, False)
        assert lab.drain() == ["a", "b"]

    def test_headers_count_with_the_payload(self, lab: Lab) -> None:
        limit = _limit(lab)
        message = replace(lab.message("t", payload=bytes(limit - 2)), headers={"né": "x"})
        with pytest.raises(PayloadTooLargeError) as refused:
            lab.enqueue(message)
        assert refused.value.size == limit + 2
        assert lab.state("t") is None

    @promise("G3", "G10")
    def test_a_result_above_the_limit_leaves_the_run_unsettled(self, lab: Lab) -> None:
        result = bytes(_limit(lab) + 1)
        lab.enqueue_all(["other"])
        lab.enqueue(lab.message("t", retention=60))
        other, delivery = lab.dequeue(count=2)
        operations: list[ops.Op[None]] = [
            ops.Complete(delivery=delivery, result=result),
            ops.Done(delivery=other),
        ]
        refused, done = lab.execute_many(operations)
        assert isinstance(refused, ResultTooLargeError)
        assert (refused.queue, refused.task_id, refused.size) == ("q", "t", len(result))
        assert done is None
        assert lab.state("t") is TaskState.ACTIVE
        lab.execute(ops.ExtendLease(lease=delivery.lease, duration=HOUR))
        lab.execute(ops.Archive(delivery=delivery, error=str(refused)))
        assert lab.state("t") is TaskState.ARCHIVED

    def test_a_written_result_above_the_limit_keeps_the_previous_one(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", retention=60))
        delivery = lab.take()
        lab.execute(ops.WriteResult(lease=delivery.lease, result=b"progress"))
        with pytest.raises(ResultTooLargeError):
            lab.execute(ops.WriteResult(lease=delivery.lease, result=bytes(_limit(lab) + 1)))
        lab.execute(ops.Complete(delivery=delivery))
        assert lab.task("t").result == b"progress"

    def test_a_new_payload_above_the_limit_keeps_the_previous_one(self, lab: Lab) -> None:
        lab.enqueue("t")
        with pytest.raises(PayloadTooLargeError):
            lab.execute(ops.UpdateTask(queue="q", task_id="t", payload=bytes(_limit(lab) + 1)))
        assert lab.take().message.payload == b"payload"

    @pytest.mark.parametrize("what", ["payload", "result"])
    def test_an_image_above_the_limit_is_not_imported(self, lab: Lab, what: str) -> None:
        message = _too_large(lab)
        image = TaskImage(message=message, state=TaskState.PENDING)
        if what == "result":
            image = replace(image, message=lab.message("large"), result=message.payload)
        with pytest.raises(PayloadTooLargeError) as refused:
            lab.execute(ops.ImportTask(image=image))
        assert (refused.value.task_id, refused.value.size) == ("large", _limit(lab) + 1)
        assert lab.state("large") is None

    def test_a_tick_with_a_task_above_the_limit_stays_undecided(self, lab: Lab) -> None:
        enqueue = ops.Enqueue(message=_too_large(lab), enqueue_id=lab.fresh())
        tick = ops.EnqueueTick(entry_id="e", tick=lab.now, keep=HOUR, enqueue=enqueue)
        with pytest.raises(PayloadTooLargeError):
            lab.execute(tick)
        assert lab.execute(ops.GetLastTick(queue="q", entry_id="e")) is None

    @promise("G1", "G10")
    def test_an_aggregate_above_the_limit_leaves_the_set_held(self, lab: Lab) -> None:
        enqueue = ops.Enqueue(message=_too_large(lab), enqueue_id=lab.fresh())
        lab.enqueue(lab.message("t", group="g"))
        taken = lab.execute(ops.TakeGroup(queue="q", group="g", set_id="s", grace=HOUR, max_size=1))
        assert taken is not None
        with pytest.raises(PayloadTooLargeError):
            lab.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))
        lab.execute(ops.ReturnAggregation(taken=taken))
        assert lab.listed(TaskState.AGGREGATING, group="g") == ["t"]
