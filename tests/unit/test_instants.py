"""Any instants and durations written by a peer can be shown."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynq.info import TaskInfo
from asynq.instants import duration_of, instant_of
from asynq.protocol.message import StoredTask, TaskMessage
from asynq.task_state import TaskState

INT64 = st.integers(-(2**63), 2**63 - 1)


@given(INT64)
def test_any_instant_converts_to_a_datetime_valid_in_every_zone(milliseconds: int) -> None:
    shown = instant_of(milliseconds)
    assert shown.tzinfo is UTC
    for zone in ("Pacific/Kiritimati", "Etc/GMT+12"):
        assert shown.astimezone(ZoneInfo(zone)) == shown


def test_instants_and_durations_are_exact() -> None:
    assert instant_of(1_700_000_000_001) == datetime(2023, 11, 14, 22, 13, 20, 1000, tzinfo=UTC)
    assert instant_of(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)
    assert duration_of(1001) == timedelta(seconds=1, milliseconds=1)


@given(INT64)
def test_a_task_with_any_numbers_can_be_shown(number: int) -> None:
    message = TaskMessage(
        id="1",
        type="t",
        queue="q",
        timeout=number,
        deadline=number,
        retention=number,
        completed_at=number,
        last_failed_at=number,
    )
    for state in TaskState:
        info = TaskInfo.of(StoredTask(message=message, state=state, due_at=number, pending_since=number))
        assert info.id == "1"


@pytest.mark.parametrize("seconds", [86_399_999_999_999, 86_400_000_000_000, 2**63 - 1])
def test_a_timeout_longer_than_a_timedelta_is_the_longest_one(seconds: int) -> None:
    message = TaskMessage(id="1", type="t", queue="q", timeout=seconds)
    shown = TaskInfo.of(StoredTask(message=message, state=TaskState.PENDING)).timeout
    assert shown is not None
    assert shown >= timedelta(days=999_999_999)
