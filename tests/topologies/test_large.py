"""A request that one server refuses because of its size: others of its batch succeed on every server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from asynq.errors import PayloadTooLargeError
from asynq.protocol.connect import connect
from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Enqueue, Enqueued

if TYPE_CHECKING:
    from asynq_topologies import Topology

MB = 1 << 20


def test_other_operations_of_a_batch_with_a_large_one_succeed(own: Topology) -> None:
    for primary in own.primaries():
        primary.ask("CONFIG", "SET", "proto-max-bulk-len", MB)
    broker = connect(own.url)
    tasks = [(f"{number}", queue) for number in range(3) for queue in ("a", "b", "c", "d")]
    large = ("1", "b")
    ops = [
        Enqueue(
            message=TaskMessage(id=task_id, type="t", queue=queue, payload=bytes(2 * MB * (task == large))),
            enqueue_id=f"{task}",
        )
        for task in tasks
        for task_id, queue in [task]
    ]
    began = time.monotonic()
    answers = dict(zip(tasks, broker.execute_many(ops), strict=True))
    assert time.monotonic() - began < 5
    refused = answers.pop(large)
    assert isinstance(refused, PayloadTooLargeError)
    assert refused.limit == MB
    assert all(isinstance(answer, Enqueued) for answer in answers.values())
    broker.close()
