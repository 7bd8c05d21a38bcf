"""What a TaskInfo promises, whether it was made by its constructor or from a stored task."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

import attrs
import pytest

from asynq import TaskInfo, TaskState
from asynq.protocol.message import StoredTask, TaskMessage

STORED = StoredTask(
    message=TaskMessage(
        id="7", type="t", queue="q", payload=b"x", headers={"h": "1"}, timeout=60, retention=5
    ),
    state=TaskState.SCHEDULED,
    due_at=1500,
)


def of_fields() -> TaskInfo:
    return TaskInfo(
        id="7",
        queue="q",
        type="t",
        state=TaskState.SCHEDULED,
        payload=b"x",
        headers={"h": "1"},
        timeout=timedelta(minutes=1),
        next_process_at=datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC),
        retention=timedelta(seconds=5),
    )


def test_the_info_of_a_stored_task_equals_one_with_the_same_fields() -> None:
    assert TaskInfo.of(STORED) == of_fields()
    assert of_fields() == TaskInfo.of(STORED)
    assert TaskInfo.of(STORED) == TaskInfo.of(STORED)
    assert TaskInfo.of(STORED) != attrs.evolve(of_fields(), retried=1)
    assert attrs.asdict(TaskInfo.of(STORED)) == attrs.asdict(of_fields())
    assert repr(TaskInfo.of(STORED)) == repr(of_fields())


def test_what_belongs_to_the_store_only_does_not_make_a_difference() -> None:
    attempted = StoredTask(message=STORED.message, state=STORED.state, due_at=1500, pending_since=9)
    assert TaskInfo.of(attempted) == TaskInfo.of(STORED)


@pytest.mark.parametrize("read_first", [False, True])
def test_an_info_can_be_pickled_and_copied(read_first: bool) -> None:
    info = TaskInfo.of(STORED)
    assert not read_first or info.id == "7"
    for again in (pickle.loads(pickle.dumps(info)), copy.deepcopy(info), copy.copy(info)):  # noqa: S301 - its own
        assert again == of_fields()
    assert attrs.evolve(info, retried=3).retried == 3


@pytest.mark.parametrize("info", [TaskInfo.of(STORED), of_fields()], ids=["of a stored task", "of fields"])
def test_an_info_has_no_other_attributes_and_cannot_be_changed(info: TaskInfo) -> None:
    with pytest.raises(AttributeError, match="'TaskInfo' object has no attribute 'nothing'"):
        info.nothing  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(info, "__array__")
    with pytest.raises(AttributeError):
        info.id = "8"  # type: ignore[misc]
