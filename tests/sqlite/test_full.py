"""A full file refuses enqueues; the tasks in it can still be processed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import BrokerFullError
from asynq.instants import EPOCH
from asynq.protocol import ops
from asynq.protocol.message import QueueStats
from asynq.protocol.presence import ServerInfo
from asynq.task_state import TaskState
from asynq_sqlite import SQLiteBroker
from tests.sqlite.tools import enqueue, take, tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq.clock import FakeClock
    from asynq.protocol.message import Delivery

PAYLOAD = bytes(3000)
MAX_SIZE = 400_000
TEXT = "".join(f"line {number}: something went wrong\n" for number in range(250))


def test_a_limit_is_a_positive_number_of_bytes(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_size must be at least 1; it is 0"):
        SQLiteBroker(tmp_path / "tasks.db", max_size=0)
    with pytest.raises(TypeError, match="max_size must be an int, not float"):
        SQLiteBroker(tmp_path / "tasks.db", max_size=1e6)  # type: ignore[arg-type]


@pytest.fixture
def full(path: Path) -> Iterator[SQLiteBroker]:
    """A broker whose file is full."""
    broker = SQLiteBroker(path, max_size=200_000)
    answers = broker.execute_many([enqueue(f"t{number}", payload=PAYLOAD) for number in range(70)])
    refused = [number for number, answer in enumerate(answers) if isinstance(answer, BrokerFullError)]
    assert refused == list(range(refused[0], 70))
    yield broker
    broker.close()


def test_a_refused_enqueue_leaves_no_data(full: SQLiteBroker) -> None:
    before = tasks(full, TaskState.PENDING)
    with pytest.raises(
        BrokerFullError, match="let workers run tasks, delete finished ones, or raise max_size"
    ):
        full.execute(enqueue("one more", payload=PAYLOAD))
    assert tasks(full, TaskState.PENDING) == before


def test_tasks_of_a_full_file_can_be_settled_in_every_way(full: SQLiteBroker) -> None:
    size = len(tasks(full, TaskState.PENDING))
    deliveries = take(full, wanted=50)
    ends = (
        lambda d: ops.Archive(delivery=d, error="e" * 200),
        lambda d: ops.Retry(delivery=d, delay=1000, error="e" * 200),
        lambda d: ops.Complete(delivery=d, result=b"r" * 200),
        lambda d: ops.Requeue(delivery=d),
        lambda d: ops.Done(delivery=d),
    )
    answers = full.execute_many([ends[n % 5](delivery) for n, delivery in enumerate(deliveries)])
    assert answers == [None] * len(deliveries)
    stats = full.execute(ops.GetQueueStats(queue="q"))
    assert stats.size == size - sum(n % 5 == 4 for n in range(len(deliveries)))


def test_space_that_is_freed_is_used_again(full: SQLiteBroker) -> None:
    for number in range(3):
        delivery = take(full, f"token{number}")[0]
        full.execute(ops.Done(delivery=delivery))
        full.execute(enqueue(f"new{number}", payload=PAYLOAD[:2000]))


def test_in_a_batch_only_operations_that_need_space_are_refused(full: SQLiteBroker) -> None:
    delivery = take(full)[0]
    huge = enqueue("huge", payload=bytes(300_000))
    answers = full.execute_many([huge, ops.Done(delivery=delivery), ops.GetQueueStats(queue="q")])
    assert isinstance(answers[0], BrokerFullError)
    assert answers[1] is None
    assert isinstance(answers[2], QueueStats)


@pytest.fixture
def crowded(path: Path, clock: FakeClock) -> Iterator[SQLiteBroker]:
    """A broker whose file is full of small tasks."""
    broker = SQLiteBroker(path, clock=clock, max_size=MAX_SIZE, durability="process")
    answers = broker.execute_many(
        [enqueue(f"t{number}", payload=bytes(100), max_retry=99) for number in range(2500)]
    )
    assert isinstance(answers[-1], BrokerFullError)
    yield broker
    broker.close()


def fail_all(broker: SQLiteBroker, end: Callable[[Delivery], ops.Op[None]], token: str) -> int:
    """Let every pending task fail. Returns their number."""
    runs = 0
    while deliveries := take(broker, f"{token}-{runs}", 50):
        assert broker.execute_many([end(delivery) for delivery in deliveries]) == [None] * len(deliveries)
        runs += len(deliveries)
    return runs


def upkeep(broker: SQLiteBroker, clock: FakeClock) -> None:
    """Carry out what a server does besides running tasks; all of it succeeds."""
    server = ServerInfo(
        id="s", host="h", pid=1, started_at=EPOCH, concurrency=1, queues={"q": 1}, strict_priority=False
    )
    work: tuple[ops.Op[Any], ...] = (
        ops.WriteServer(server=server, ttl=10_000),
        ops.AcquireSlot(scope="s", holder="h", limit=3, hold=1000),
        ops.TakeToken(scope="s", limit=100, per=1000),
        ops.ListLostLeases(queue="q"),
        ops.PauseQueue(queue="q"),
        ops.UnpauseQueue(queue="q"),
        ops.PurgeCompleted(queue="q"),
        ops.TrimArchive(queue="q"),
    )
    answers = broker.execute_many(work)
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    clock.advance(10_000)


def test_thousands_of_failed_runs_do_not_grow_a_full_file(
    crowded: SQLiteBroker, clock: FakeClock, path: Path
) -> None:
    size = len(tasks(crowded, TaskState.PENDING))
    assert size > 500
    runs = 0
    for round_ in range(6):
        runs += fail_all(
            crowded, lambda delivery: ops.Retry(delivery=delivery, delay=1000, error=TEXT), f"{round_}"
        )
        upkeep(crowded, clock)
        while crowded.execute(ops.Forward(queue="q")).moved:
            pass
    assert runs == 6 * size
    assert isinstance(crowded.execute_many([enqueue("refused")])[0], BrokerFullError)
    assert fail_all(crowded, lambda delivery: ops.Archive(delivery=delivery, error=TEXT), "last") == size
    assert len(tasks(crowded, TaskState.ARCHIVED)) == size
    crowded.close()
    assert path.stat().st_size < 2 * MAX_SIZE


def test_a_full_file_stores_a_truncated_error_and_no_history(crowded: SQLiteBroker) -> None:
    fail_all(crowded, lambda delivery: ops.Archive(delivery=delivery, error=TEXT), "a")
    errors = {task.message.error for task in tasks(crowded, TaskState.ARCHIVED)}
    assert min(errors, key=len).startswith("line 0: something went wrong\n")
    assert min(errors, key=len).endswith("(cut: the store is full)")
    cut = [task.message for task in tasks(crowded, TaskState.ARCHIVED) if task.message.error != TEXT]
    assert {bool(message.headers) for message in cut} == {False}


def test_an_emptied_file_accepts_tasks_and_whole_errors_again(
    crowded: SQLiteBroker, clock: FakeClock
) -> None:
    fail_all(crowded, lambda delivery: ops.Archive(delivery=delivery, error=TEXT), "a")
    while crowded.execute(ops.TrimArchive(queue="q", max_size=0)):
        pass
    crowded.execute(enqueue("new"))
    crowded.execute(ops.Archive(delivery=take(crowded, "new")[0], error=TEXT))
    assert [task.message.error for task in tasks(crowded, TaskState.ARCHIVED)] == [TEXT]


def test_results_beyond_a_reserve_are_refused_and_settled_later(crowded: SQLiteBroker) -> None:
    big = bytes(20_000)
    refused: list[Delivery] = []
    while deliveries := take(crowded, f"token{len(refused)}", 50):
        ends = [ops.Complete(delivery=delivery, result=big) for delivery in deliveries]
        answers = crowded.execute_many(ends)
        refused += [d for d, a in zip(deliveries, answers, strict=True) if isinstance(a, BrokerFullError)]
        if refused:
            break
    assert refused
    small = ops.Complete(delivery=refused[0], result=b"small")
    assert crowded.execute_many([small]) == [None]
    while crowded.execute(ops.MoveTasks(queue="q", state=TaskState.COMPLETED, to="deleted")):
        pass
    assert crowded.execute_many([ops.Complete(delivery=refused[1], result=big)]) == [None]


def test_a_payload_can_be_shortened_in_a_full_file(crowded: SQLiteBroker) -> None:
    task_id = tasks(crowded, TaskState.PENDING)[0].message.id
    crowded.execute(ops.UpdateTask(queue="q", task_id=task_id, payload=b"p"))
    with pytest.raises(BrokerFullError):
        crowded.execute(ops.UpdateTask(queue="q", task_id=task_id, payload=bytes(50_000)))
    assert crowded.execute(ops.GetTask(queue="q", task_id=task_id)).message.payload == b"p"


def test_an_enqueue_sent_again_to_a_full_file_succeeds(crowded: SQLiteBroker) -> None:
    first = tasks(crowded, TaskState.PENDING)[0].message.id
    assert crowded.execute(enqueue(first, max_retry=99)).state is TaskState.PENDING
