"""Moves that were interrupted, taken over, or undone: no task is within reach on both sides."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import redis

from asynq import Client, QueueNotFoundError, Task, TaskNotFoundError, connect
from asynq.migration import MigrationRunningError, migrate
from asynq.protocol.ops import (
    ArchiveTask,
    ClaimTransfer,
    Dequeue,
    Done,
    ExportTask,
    GetTask,
    ImportTask,
    ListParked,
    ReleaseTask,
    UnpauseQueue,
)
from asynq.protocol.transfer import PARKED
from asynq.task_state import TaskState
from asynq_sqlite import MemoryBroker
from tests.cli.commands import Commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq.protocol.broker import Broker
    from asynq.protocol.ops import Op
    from tests.servers import RedisServer

Q = "default"
Brokers = tuple["Broker", "Broker", "Broker"]


@pytest.fixture(params=["sqlite redis", "redis sqlite"])
def brokers(request: pytest.FixtureRequest, tmp_path: Path, redis_server: RedisServer) -> Iterator[Brokers]:
    """Three empty stores."""
    urls = {"redis": redis_server.url, "sqlite": f"sqlite:///{tmp_path}/tasks.db"}
    one, other = (connect(urls[kind]) for kind in request.param.split())
    third = MemoryBroker()
    yield one, other, third
    for broker in (one, other, third):
        broker.close()


def interrupt(source: Broker, destination: Broker, steps: int) -> None:
    """Begin to move task t, and end after so many steps."""
    Client(source).enqueue(Task("t", task_id="t"))
    stores = [
        broker.execute(ClaimTransfer(queue=Q, holder="killed", hold=1)) for broker in (source, destination)
    ]
    away, arriving = f">{stores[1]}", f"<{stores[0]}"
    image = source.execute(ExportTask(queue=Q, task_id="t", park=True, transfer=away))
    if steps > 1:
        destination.execute(ImportTask(image=image, transfer=arriving))
    if steps > 2:
        source.execute(ReleaseTask(queue=Q, task_id="t", to="deleted", transfer=away))
    for broker in (source, destination):
        broker.execute(ClaimTransfer(queue=Q, holder="killed", hold=0))


def drain(*brokers: Broker) -> list[str]:
    """Run everything that can be run."""
    ran: list[str] = []
    for broker in brokers:
        broker.execute(UnpauseQueue(queue=Q))
        while taken := broker.execute(Dequeue(orders=((Q,),), token="token", lease=60_000)):
            ran.append(taken[0].message.id)
            broker.execute(Done(delivery=taken[0]))
    return ran


def due(broker: Broker) -> int | None:
    """When task t is due. None if there is none."""
    try:
        return broker.execute(GetTask(queue=Q, task_id="t")).due_at
    except (QueueNotFoundError, TaskNotFoundError):
        return None


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_interrupted_move_is_undone_in_the_opposite_direction(brokers: Brokers, steps: int) -> None:
    source, destination, _ = brokers
    interrupt(source, destination, steps)
    [report] = migrate(destination, source, move=True, queues=[Q])
    assert (report.transferred, report.refused, report.parked) == (1, [], 0)
    assert due(destination) is None
    for broker in (source, destination):
        assert broker.execute(ListParked(queue=Q)) == ()
    assert drain(source, destination) == ["t"]
    migrate(source, destination, move=True, queues=[Q])
    assert drain(source, destination) == []


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_an_undo_that_is_interrupted_goes_on(brokers: Brokers, steps: int) -> None:
    source, destination, _ = brokers
    interrupt(source, destination, steps)
    if steps == 2:
        name = source.execute(ClaimTransfer(queue=Q, holder="killed", hold=1))
        assert destination.execute(ReleaseTask(queue=Q, task_id="t", to="deleted", transfer=f"<{name}"))
        source.execute(ClaimTransfer(queue=Q, holder="killed", hold=0))
    for _ in range(2):
        migrate(destination, source, move=True, queues=[Q])
    assert drain(source, destination) == ["t"]


@pytest.mark.parametrize("move", [True, False])
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_the_migration_of_a_third_broker_releases_nothing(brokers: Brokers, steps: int, move: bool) -> None:
    source, destination, third = brokers
    interrupt(source, destination, steps)
    Client(third).enqueue(Task("t", task_id="u"))
    [report] = migrate(third, destination, move=move)
    assert report.transferred == 1
    assert drain(destination) == ["u"]
    assert due(destination) == (PARKED if steps > 1 else None)
    migrate(source, destination, move=True)
    assert drain(destination, source) == ["t"]
    assert [broker.execute(ListParked(queue=Q)) for broker in brokers] == [()] * 3


@pytest.mark.parametrize("steps", [1, 2])
def test_a_task_that_is_on_its_way_goes_nowhere_else(brokers: Brokers, steps: int) -> None:
    source, destination, third = brokers
    interrupt(source, destination, steps)
    [report] = migrate(source, third, move=True)
    assert (report.transferred, report.parked, report.left) == (0, 1, 0)
    if steps == 2:
        [report] = migrate(destination, third, move=True)
        assert (report.transferred, report.parked, report.left) == (0, 1, 0)
    assert due(third) is None
    migrate(source, destination, move=True)
    assert drain(source, third, destination) == ["t"]


def test_a_task_that_was_taken_back_by_hand_does_not_arrive(brokers: Brokers) -> None:
    source, destination, _ = brokers
    interrupt(source, destination, 2)
    source.execute(ArchiveTask(queue=Q, task_id="t"))
    migrate(source, destination, move=True, states=["pending"])
    assert due(destination) is None
    assert source.execute(GetTask(queue=Q, task_id="t")).state is TaskState.ARCHIVED


def overtaken(broker: Broker, before: type[Op[object]], act: Callable[[], object]) -> Broker:
    """The broker. Before it carries out the first operations of that type, something else happens."""
    done: list[int] = []

    class Slow:
        capabilities = broker.capabilities

        def __getattr__(self, name: str) -> object:
            return getattr(broker, name)

        def execute_many(self, ops: list[Op[object]], **options: object) -> object:
            if not done and ops and isinstance(ops[0], before):
                done.append(1)
                act()
            return broker.execute_many(ops, **options)

    return Slow()  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("operation", "side"), [(ExportTask, 0), (ImportTask, 1), (ReleaseTask, 0), (ReleaseTask, 1)]
)
def test_a_migration_that_stood_still_is_over(
    brokers: Brokers, operation: type[Op[object]], side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination, _ = brokers
    Client(source).enqueue(Task("t", task_id="t"))
    monkeypatch.setattr("asynq.migration.sides.CLAIM", 1)  # the claim ends at once
    ran: list[str] = []

    def overtake() -> None:
        while not ran:
            with suppress(MigrationRunningError):  # for a millisecond
                migrate(source, destination, move=True)
                ran.extend(drain(destination))

    pair = [source, destination]
    pair[side] = overtaken(pair[side], operation, overtake)
    with pytest.raises(MigrationRunningError, match="took over"):
        migrate(*pair, move=True)
    assert ran == ["t"]
    assert drain(source, destination) == []
    assert [broker.execute(ListParked(queue=Q)) for broker in (source, destination)] == [(), ()]


def test_a_name_that_cannot_be_decoded_is_skipped(redis_server: RedisServer, tmp_path: Path) -> None:
    source, destination = connect(redis_server.url), connect(f"sqlite:///{tmp_path}/tasks.db")
    Client(source).enqueue(Task("t", task_id="t"))
    with redis.Redis.from_url(redis_server.url) as client:
        client.sadd("asynq:queues", b"\xff\xfe")
    found = {report.queue: report.found for report in migrate(source, destination)}
    assert found == {Q: True, "\ufffd\ufffd": False}
    run = Commands(redis_server.url, source)
    ended = run("migrate", redis_server.url, f"sqlite:///{tmp_path}/tasks.db", "--move", "--yes")
    assert "skipped" in ended.err
    assert due(source) is None
    assert drain(destination) == ["t"]
    source.close()
    destination.close()
