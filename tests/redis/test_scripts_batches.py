"""Scripts for many tasks: few commands, and the same result as one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.errors import LeaseLostError
from asynq.protocol.ops import Archive, Complete, Done, Enqueue, Requeue, Retry
from asynq.task_state import TaskState
from tests.redis.script_lab import ScriptLab, message, unique

if TYPE_CHECKING:
    from collections.abc import Callable

    from asynq.protocol.message import Delivery
    from asynq.protocol.ops import Op

ACTIVE, LEASE = "asynq:{q}:active", "asynq:{q}:lease"


def commands(lab: ScriptLab, name: str) -> int:
    """How often the server has run a command since the last reset of its statistics."""
    found: dict[str, Any] = lab.client.info("commandstats")
    count: int = found.get(f"cmdstat_{name}", {"calls": 0})["calls"]
    return count


def names(count: int) -> list[str]:
    return [f"{number:03d}" for number in range(count)]


def taken(lab: ScriptLab, count: int) -> list[Delivery]:
    """Active tasks, in the order in which they were taken."""
    lab.enqueue(*map(message, names(count)))
    found: list[Delivery] = []
    while len(found) < count:
        found += lab.take(min(50, count - len(found)), token=f"token {len(found)}")
    return found


# --- enqueue --------------------------------------------------------------------------------------------


def test_plain_tasks_are_pushed_together(lab: ScriptLab) -> None:
    lab.client.config_resetstat()
    lab.enqueue(*map(message, names(50)))
    assert (commands(lab, "lpush"), commands(lab, "exists")) == (1, 1)
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [name.encode() for name in reversed(names(50))]


def test_tasks_of_one_call_are_enqueued_in_order(lab: ScriptLab) -> None:
    lab.enqueue(message("known"))
    ops: list[Op[Any]] = [
        Enqueue(message=message("a"), enqueue_id="a"),
        Enqueue(message=message("known"), enqueue_id="other"),
        Enqueue(message=message("b", group=""), enqueue_id="b", process_in=0),
        Enqueue(message=message("c"), enqueue_id="c"),
        Enqueue(message=message("c"), enqueue_id="another"),
        Enqueue(message=message("a"), enqueue_id="a"),
        Enqueue(message=message("d"), enqueue_id="d"),
    ]
    answers = lab.all(ops)
    assert [type(answer).__name__ for answer in answers] == [
        *("Enqueued", "TaskIDConflictError", "Enqueued", "Enqueued", "TaskIDConflictError"),
        *("Enqueued", "Enqueued"),
    ]
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [b"d", b"c", b"b", b"a", b"known"]


def test_a_task_enqueued_twice_in_a_call_conflicts_with_itself(lab: ScriptLab) -> None:
    first, second = lab.all([Enqueue(message=message("a"), enqueue_id=name) for name in ("first", "second")])
    assert first.state is TaskState.PENDING
    assert second.state is TaskState.PENDING
    assert isinstance(second, Exception)
    assert lab.client.lrange("asynq:{q}:pending", 0, -1) == [b"a"]


# --- leases ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "skip_list"), [(7, False), (8, True), (50, True)])
def test_many_leases_become_a_skip_list_of_nothing_but_tasks(
    lab: ScriptLab, count: int, skip_list: bool
) -> None:
    taken(lab, count)
    assert (lab.client.object("encoding", LEASE) == b"skiplist") is skip_list
    assert sorted(lab.client.zrange(LEASE, 0, -1)) == [name.encode() for name in names(count)]


# --- settlement -----------------------------------------------------------------------------------------

SETTLEMENTS: dict[str, Callable[[Delivery], Op[None]]] = {
    "done": lambda delivery: Done(delivery=delivery),
    "complete": lambda delivery: Complete(delivery=delivery),
    "retry": lambda delivery: Retry(delivery=delivery, delay=1, error="no"),
    "archive": lambda delivery: Archive(delivery=delivery, error="no"),
    "requeue": lambda delivery: Requeue(delivery=delivery),
}


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
@pytest.mark.parametrize("step", [1, 3, -1, -3])
def test_runs_that_end_together_leave_the_others_active_in_order(
    lab: ScriptLab, settle: Callable[[Delivery], Op[None]], step: int
) -> None:
    running = taken(lab, 120)
    ending = running[::step][:40]
    assert lab.all([settle(delivery) for delivery in ending]) == [None] * len(ending)
    left = [delivery.message.id.encode() for delivery in running if delivery not in ending]
    assert lab.client.lrange(ACTIVE, 0, -1) == left[::-1]
    assert set(lab.client.zrange(LEASE, 0, -1)) == set(left)


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
@pytest.mark.parametrize("count", [1, 9, 40])
def test_runs_that_began_first_are_removed_at_once(
    lab: ScriptLab, settle: Callable[[Delivery], Op[None]], count: int
) -> None:
    running = taken(lab, 120)
    lab.client.config_resetstat()
    lab.all([settle(delivery) for delivery in running[:count]])
    assert (commands(lab, "lrem"), commands(lab, "ltrim")) == (0, 1)


@pytest.mark.parametrize(
    "ending",
    [slice(-9, None), slice(8, None, -1), slice(0, 18, 2)],
    ids=["last", "reversed", "others between"],
)
def test_few_runs_are_removed_one_by_one(lab: ScriptLab, ending: slice) -> None:
    running = taken(lab, 120)
    lab.client.config_resetstat()
    lab.all([Done(delivery=delivery) for delivery in running[ending]])
    assert (commands(lab, "lrem"), commands(lab, "ltrim")) == (9, 0)
    assert commands(lab, "lrange") == 1
    left = [delivery.message.id.encode() for delivery in running if delivery not in running[ending]]
    assert lab.client.lrange(ACTIVE, 0, -1) == left[::-1]


def test_runs_between_others_that_began_early_are_removed_one_by_one(lab: ScriptLab) -> None:
    running = taken(lab, 120)
    lab.client.config_resetstat()
    lab.all([Done(delivery=delivery) for delivery in running[1:41]])
    assert (commands(lab, "lrem"), commands(lab, "ltrim")) == (40, 0)


@pytest.mark.parametrize("count", [10, 40])
def test_runs_that_began_late_are_removed_in_one_pass(lab: ScriptLab, count: int) -> None:
    running = taken(lab, 120)
    lab.client.config_resetstat()
    lab.all([Done(delivery=delivery) for delivery in running[-count:]])
    assert (commands(lab, "lrem"), commands(lab, "lset")) == (1, count)


@pytest.mark.parametrize(("first", "last", "removals"), [(18, 19, 10), (20, 0, 1), (0, 20, 1)])
def test_the_places_of_the_first_and_the_last_run_decide(
    lab: ScriptLab, first: int, last: int, removals: int
) -> None:
    running = taken(lab, 120)
    lab.client.config_resetstat()
    ending = (running[first], *running[-8:], running[last])
    lab.all([Done(delivery=delivery) for delivery in ending])
    assert commands(lab, "lrem") == removals


def test_a_run_settled_twice_in_a_call_is_done_once(lab: ScriptLab) -> None:
    delivery, other = taken(lab, 2)
    done = Done(delivery=delivery)
    first, second, third = lab.all([done, done, Done(delivery=other)])
    assert (first, third) == (None, None)
    assert isinstance(second, LeaseLostError)
    assert lab.client.get("asynq:{q}:processed") == b"2"
    assert lab.client.keys("asynq:{q}:t:*") == []


@pytest.mark.parametrize("settle", SETTLEMENTS.values(), ids=SETTLEMENTS)
def test_the_run_that_is_lost_in_a_call_is_the_one_that_is_refused(
    lab: ScriptLab, settle: Callable[[Delivery], Op[None]]
) -> None:
    running = taken(lab, 4)
    lab.client.hset(f"asynq:{{q}}:t:{running[2].message.id}", "lease_token", "of the next run")
    answers = lab.all([settle(delivery) for delivery in running])
    assert [type(answer) for answer in answers] == [type(None), type(None), LeaseLostError, type(None)]


def test_done_without_a_single_lease_changes_nothing(lab: ScriptLab) -> None:
    delivery, other = taken(lab, 2)
    lab.client.delete(LEASE)
    before = lab.content()
    lost = lab.all([Done(delivery=delivery), Done(delivery=other)])
    assert {type(answer) for answer in lost} == {LeaseLostError}
    assert lab.content() == before


def test_done_releases_the_locks_of_its_own_tasks_only(lab: ScriptLab) -> None:
    lab.enqueue(unique("a"))
    [delivery] = lab.take()
    lab.client.set("asynq:{q}:unique:email:", "another")
    assert lab.one(Done(delivery=delivery)) is None
    assert lab.client.get("asynq:{q}:unique:email:") == b"another"
