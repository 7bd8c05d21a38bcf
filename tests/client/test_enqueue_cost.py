"""The client's part of an enqueue stays small: how many Python functions it runs, and in how many files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq import Client, Task, TaskState
from asynq.protocol.ops import Enqueued
from tests.frames import frames_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ANSWER = Enqueued(state=TaskState.PENDING, due_at=1_700_000_000_000)


class InstantBroker:
    """Answers at once, so that only the client's part remains."""

    def execute(self, op: Any) -> Any:
        return ANSWER

    def execute_many(self, ops: Sequence[Any]) -> Any:
        return [ANSWER] * len(ops)


def own_frames(call: Callable[[Client], object]) -> list[tuple[str, str]]:
    broker: Any = InstantBroker()
    client = Client(broker)
    return [frame for frame in frames_of(lambda: call(client)) if frame[0] != __file__]


def test_an_enqueue_without_options_runs_few_functions() -> None:
    frames = own_frames(lambda client: client.enqueue(Task("t", b"x")))
    assert len(frames) <= 12, frames
    assert len({file for file, _ in frames}) <= 10, frames


def test_each_task_of_a_batch_runs_few_functions() -> None:
    task = Task("t", b"x")
    one = own_frames(lambda client: client.enqueue_many([task]))
    many = own_frames(lambda client: client.enqueue_many([task] * 11))
    assert len(many) - len(one) <= 10 * 5, many


@pytest.mark.parametrize(("options", "most"), [({"max_retry": 3}, 7), ({"max_retry": 3, "group": "g"}, 9)])
def test_options_cost_what_was_given(options: dict[str, Any], most: int) -> None:
    """One more option means one more check, no work for the others."""
    plain = own_frames(lambda client: client.enqueue(Task("t", b"x")))
    given = own_frames(lambda client: client.enqueue(Task("t", b"x"), **options))
    assert len(given) - len(plain) <= most, given
