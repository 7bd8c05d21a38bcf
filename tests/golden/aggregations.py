"""The steps of Go's aggregator before each dump of groups, inferred from the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol import ops
from asynq_redis.wire import task_message
from tests.golden.dumps import leaf

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet
    from tests.golden.replay import Replay


def take(
    replay: Replay, group: str, size: int, *, set_id: str = "set", hold: int = 120_000
) -> AggregationSet:
    """Take as many tasks of a group as Go's aggregator did."""
    op = ops.TakeGroup(queue="default", group=group, set_id=set_id, grace=3_600_000, max_size=size, hold=hold)
    taken = replay.broker.execute(op)
    assert taken is not None
    assert len(taken.messages) == size
    return taken


def pause(replay: Replay) -> None:
    """The queue was paused so that the aggregates do not run; not always by a recorded step."""
    now = replay.clock.now()
    replay.clock.set(int(replay.left["asynq:{default}:paused"]) * 1000 + replay.shift)
    replay.broker.execute(ops.PauseQueue(queue="default"))
    replay.clock.set(now)


def stage(replay: Replay, group: str, size: int) -> None:
    """The dump was made while the aggregator worked, so the set has the name that Go gave it."""
    pause(replay)
    replay.at_the_end()
    (registered,) = replay.left["asynq:{default}:aggregation_sets"]
    take(replay, group, size, set_id=registered["member"].rpartition(":")[2])


def finish(replay: Replay, taken: AggregationSet, task_id: str) -> None:
    """Replace the set by this task, which Go's aggregator created."""
    left = replay.left[f"asynq:{{default}}:t:{task_id}"]
    # back before the shutdown of the server, the last step
    replay.clock.set(int(left["pending_since"]) // 1_000_000 + replay.shift)
    enqueue = ops.Enqueue(message=task_message.decode(leaf(left["msg"])), enqueue_id="aggregate")
    replay.broker.execute(ops.FinishAggregation(taken=taken, enqueue=enqueue))


def finish_in_turn(replay: Replay, group: str, *sizes: int) -> None:
    """Aggregate a group in sets of these sizes, into the tasks that Go left pending."""
    pause(replay)
    pending = replay.left["asynq:{default}:pending"]
    for size, task_id in zip(sizes, reversed(pending), strict=True):
        finish(replay, take(replay, group, size), task_id)


def reclaim_and_finish(replay: Replay) -> None:
    """The first aggregator was killed and its set reclaimed; one task was added, and all were aggregated."""
    take(replay, "user:7", 3, set_id="lost", hold=1)
    replay.clock.advance(1000)
    assert replay.broker.execute(ops.ReclaimAggregations(queue="default")) == 1
    finish_in_turn(replay, "user:7", 4)
