"""The clock of the server decides, even if that of the process is wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from asynq.protocol.message import TaskMessage
from asynq.protocol.ops import Archive, Dequeue, Enqueue, Forward, GetTask, ListLostLeases
from asynq_redis import RedisBroker

if TYPE_CHECKING:
    from tests.servers import RedisServer

MINUTE = 60_000


@pytest.mark.parametrize("wrong_by", [3600, -3600])
def test_tasks_and_leases_use_the_clock_of_the_server(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch, wrong_by: int
) -> None:
    right, right_ns = time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: right() + wrong_by)
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + wrong_by * 10**9)
    broker, began = RedisBroker(redis_server.url), redis_server.client.time()[0]

    def enqueue(task_id: str, process_in: int | None = None) -> None:
        message = TaskMessage(id=task_id, type="t", queue="q")
        broker.execute(Enqueue(message=message, enqueue_id=task_id, process_in=process_in))

    enqueue("later", MINUTE)
    assert broker.execute(Forward(queue="q")).moved == 0
    enqueue("now")
    [delivery] = broker.execute(Dequeue(orders=(("q",),), token="t", lease=MINUTE))
    assert broker.execute(ListLostLeases(queue="q")).leases == ()

    def about(key: str, member: str, wanted: int) -> bool:
        score = redis_server.client.zscore(key, member)
        return score is not None and wanted <= score <= wanted + 30

    assert about("asynq:{q}:scheduled", "later", began + 60)
    assert about("asynq:{q}:lease", "now", began + 60)
    broker.execute(Archive(delivery=delivery, error="e"))
    assert about("asynq:{q}:archived", "now", began)
    assert broker.execute(GetTask(queue="q", task_id="later")).due_at // 1000 in range(began + 60, began + 91)
    broker.close()


def test_the_time_of_the_server_is_read_in_milliseconds(redis_server: RedisServer) -> None:
    def milliseconds() -> int:
        seconds, microseconds = redis_server.client.time()
        return seconds * 1000 + microseconds // 1000

    enqueue = Enqueue(message=TaskMessage(id="a", type="t", queue="q"), enqueue_id="a")
    broker = RedisBroker(redis_server.url)
    before = milliseconds()
    made = broker.execute(enqueue)
    assert before <= made.due_at <= milliseconds()
    broker.close()
