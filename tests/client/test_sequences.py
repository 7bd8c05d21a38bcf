"""The option `sequence`, from a client to an inspector."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from asynq import Client, Inspector, MemoryBroker, Task, TaskState
from asynq.client.go_options import option_texts
from asynq.client.options import Options

SECOND = timedelta(seconds=1)


def test_an_inspector_shows_the_sequence_and_who_waits() -> None:
    broker = MemoryBroker()
    with Client(broker) as client, Inspector(broker) as inspector:
        first = client.enqueue(Task("t", sequence="s", headers={"k": "v"}))
        second = client.enqueue(Task("t"), sequence="s")
        plain = client.enqueue(Task("t"))
        assert (first.sequence, first.state, first.waiting) == ("s", TaskState.PENDING, False)
        assert first.headers["k"] == "v"
        assert (second.state, second.waiting, second.next_process_at) == (TaskState.SCHEDULED, True, None)
        assert (plain.sequence, plain.waiting) == ("", False)
        shown = inspector.task("default", second.id)
        assert (shown.sequence, shown.waiting, shown.next_process_at) == ("s", True, None)
        assert inspector.run_all("default", "scheduled") == 0
        inspector.delete_task("default", first.id)
        assert inspector.task("default", second.id).state is TaskState.PENDING


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"group": "g"}, "group"),
        ({"process_in": SECOND}, "process_in"),
        ({"process_at": datetime(2040, 1, 1, tzinfo=UTC)}, "process_at"),
        ({"unique": SECOND, "keep_unique": True}, "keep_unique"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_has_no_meaning_in_a_sequence_is_refused(options: dict[str, Any], named: str) -> None:
    with Client(MemoryBroker()) as client, pytest.raises(ValueError, match=f"sequence cannot have {named}"):
        client.enqueue(Task("t"), sequence="s", **options)


def test_go_shows_the_sequence_of_a_periodic_task() -> None:
    assert option_texts(Options(sequence="s")) == ('Header(["asynq-sequence","s"])',)
