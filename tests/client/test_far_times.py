"""Times at the ends of the calendar: what no broker could show is refused before it is sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from asynq import Client, Inspector, MemoryBroker, RedisBroker, SQLiteBroker, Task, TaskState
from asynq.checks import MAX_DURATION, MAX_RETENTION
from asynq.instants import MAX_DATETIME, MIN_DATETIME
from asynq.scheduler.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from asynq.protocol.broker import Broker

TOO_LATE = [
    datetime.max.replace(tzinfo=UTC),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
    MAX_DATETIME + timedelta(microseconds=1),
]
LONG_AGO = [datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))]


@pytest.fixture(params=["memory", "sqlite", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    broker: Broker
    if request.param == "memory":
        broker = MemoryBroker()
    elif request.param == "sqlite":
        broker = SQLiteBroker(tmp_path / "tasks.db")
    else:
        broker = RedisBroker(request.getfixturevalue("redis_server").url)
    yield broker
    broker.close()


@pytest.mark.parametrize("option", ["process_at", "deadline"])
@pytest.mark.parametrize("instant", TOO_LATE, ids=str)
def test_a_time_after_the_last_instant_is_refused_before_anything_is_sent(
    broker: Broker, option: str, instant: datetime
) -> None:
    given: Any = {option: instant}
    with Client(broker) as client:
        for call in (client.enqueue, lambda task, **over: client.enqueue_many([task], **over)):
            with pytest.raises(ValueError, match=f"{option} must not be later than 9999-12-31"):
                call(Task("t"), **given)
    assert Inspector(broker).queues() == ()


@pytest.mark.parametrize("option", ["process_in", "timeout", "retention", "unique"])
def test_a_duration_longer_than_the_longest_is_refused_before_anything_is_sent(
    broker: Broker, option: str
) -> None:
    given: Any = {option: timedelta.max}
    with pytest.raises(ValueError, match=option):
        Client(broker).enqueue(Task("t"), **given)
    assert Inspector(broker).queues() == ()


def test_the_earliest_and_latest_times_are_kept_and_shown(broker: Broker) -> None:
    inspector = Inspector(broker)
    far = Task("t", timeout=MAX_DURATION, retention=MAX_RETENTION, unique=MAX_DURATION, deadline=MAX_DATETIME)
    info = Client(broker).enqueue(far, process_at=MAX_DATETIME)
    assert (info.state, info.next_process_at, info.deadline) == (
        TaskState.SCHEDULED,
        MAX_DATETIME,
        MAX_DATETIME,
    )
    assert [inspector.task("default", info.id), *inspector.tasks("default", "scheduled")] == [info, info]
    later = Client(broker).enqueue(Task("t"), process_in=MAX_DURATION)
    assert list(inspector.tasks("default", "scheduled")) == [later, info]


def test_the_budget_of_a_broker_may_be_the_longest_duration(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="budget"):
        SQLiteBroker(tmp_path / "tasks.db", budget=timedelta.max)
    broker = SQLiteBroker(tmp_path / "tasks.db", budget=MAX_DURATION)
    Client(broker).ping()
    broker.close()


@pytest.mark.parametrize("instant", LONG_AGO, ids=str)
def test_the_earliest_instants_are_accepted(broker: Broker, instant: datetime) -> None:
    info = Client(broker).enqueue(Task("t"), process_at=instant)
    assert info.state is TaskState.PENDING


@pytest.mark.parametrize("instant", [MIN_DATETIME, MAX_DATETIME], ids=str)
@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12"])
def test_every_time_zone_can_express_the_first_and_the_last_instant(instant: datetime, zone: str) -> None:
    assert instant.astimezone(ZoneInfo(zone)) == instant


def test_a_scheduler_refuses_the_same_times_as_a_client() -> None:
    scheduler = Scheduler(MemoryBroker())
    with pytest.raises(ValueError, match="process_at"):
        scheduler.register("@hourly", Task("t"), process_at=TOO_LATE[0])
    for instant in LONG_AGO:
        scheduler.register("@hourly", Task("t"), process_at=instant)
