"""The broker's part of an enqueue stays small: how many Python functions it runs, and in how many files."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from asynq import Client, Task
from asynq_redis import RedisBroker
from tests.frames import frames_of
from tests.redis.custom_operations import enqueue

if TYPE_CHECKING:
    from tests.servers import RedisServer

numbers = count()


def own(frames: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [frame for frame in frames if frame[0] != __file__ and "custom_operations" not in frame[0]]


def test_an_enqueue_runs_few_functions(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)
    frames = own(frames_of(lambda: broker.execute(enqueue(str(next(numbers))))))
    assert len(frames) <= 33, frames
    assert len({file for file, _ in frames}) <= 17, frames
    broker.close()


def test_an_enqueue_of_a_client_runs_few_functions(redis_server: RedisServer) -> None:
    task = Task("t")
    with Client(redis_server.url) as client:
        frames = own(frames_of(lambda: client.enqueue(task)))
    assert len(frames) <= 40, frames


def test_each_task_of_a_batch_runs_few_functions(redis_server: RedisServer) -> None:
    broker = RedisBroker(redis_server.url)

    def frames_for(size: int) -> list[tuple[str, str]]:
        ops = [[enqueue(str(next(numbers))) for _ in range(size)] for _ in range(5)]
        return own(frames_of(lambda: broker.execute_many(ops.pop())))

    one, many = frames_for(1), frames_for(41)
    # Its size, its message, its arguments, its options, its answer.
    assert len(many) - len(one) <= 40 * 5, many
    broker.close()
