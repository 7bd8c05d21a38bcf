"""Laws of groups: when a group is ripe, and the effect of taking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.protocol import ops
from asynq.task_state import TaskState
from asynq_conformance.lab import BOUNDARY, MINUTE, SECOND, Lab, whole_second
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from asynq.protocol.groups import AggregationSet, GroupInfo

HOLD = 2 * MINUTE


def add(lab: Lab, *ids: str, group: str = "g") -> None:
    """Add tasks to a group, one per second."""
    for task_id in ids:
        lab.enqueue(lab.message(task_id, group=group))
        lab.advance(SECOND)


def take(
    lab: Lab, group: str = "g", *, max_size: int = 0, max_delay: int = 0, set_id: str | None = None
) -> AggregationSet | None:
    """Take a group if it is ripe under these limits and a grace period of one minute."""
    return lab.execute(
        ops.TakeGroup(
            queue="q",
            group=group,
            set_id=set_id or lab.fresh(),
            grace=MINUTE,
            max_size=max_size,
            max_delay=max_delay,
            hold=HOLD,
        )
    )


def taken_now(lab: Lab, *, limit: int = 0, group: str = "g") -> AggregationSet:
    """Take a group after ten minutes without new tasks."""
    lab.advance(10 * MINUTE)
    taken = take(lab, group, max_size=limit)
    assert taken is not None
    return taken


def ids_of(taken: AggregationSet | None) -> list[str]:
    """Ids of the tasks of a set."""
    return [message.id for message in taken.messages] if taken else []


def groups(lab: Lab) -> dict[str, GroupInfo]:
    """All groups of the queue by name."""
    found: dict[str, GroupInfo] = {}
    cursor, begun = "", False
    while cursor or not begun:
        page = lab.execute(ops.ListGroups(queue="q", cursor=cursor))
        found |= {group.name: group for group in page.groups}
        cursor, begun = page.cursor, True
    return found


def waiting(lab: Lab, group: str = "g") -> list[str]:
    """Ids of the tasks waiting in a group."""
    return lab.listed(TaskState.AGGREGATING, group=group)


@promise("G9")
class GroupLaws(Laws):
    """Waiting in groups, and taking tasks from them."""

    # --- groups ---------------------------------------------------------------------------------------

    @promise("G8")
    def test_groups_are_listed_with_their_sizes_and_ages(self, lab: Lab) -> None:
        add(lab, "a", group="one")
        add(lab, "b", "c", group="two")
        lab.advance_to(whole_second(lab.now))
        found = groups(lab)
        assert {name: group.size for name, group in found.items()} == {"one": 1, "two": 2}
        assert (found["two"].waiting, found["two"].quiet) == (2 * SECOND, SECOND)

    @promise("G8")
    def test_all_of_many_groups_are_listed(self, lab: Lab) -> None:
        names = {f"group-{number}" for number in range(700)}
        lab.execute_many(
            [
                ops.Enqueue(message=lab.message(name, group=name), enqueue_id=lab.fresh())
                for name in sorted(names)
            ]
        )
        assert groups(lab).keys() == names

    @promise("G8")
    def test_a_group_without_tasks_is_not_listed(self, lab: Lab) -> None:
        assert groups(lab) == {}
        add(lab, "a")
        taken_now(lab)
        assert groups(lab) == {}
        assert lab.stats().groups == 0

    def test_a_group_with_only_scheduled_tasks_is_not_listed(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", group="g"), delay=MINUTE)
        assert lab.stats().groups == 0
        assert groups(lab) == {}

    def test_a_scheduled_task_joins_its_group_when_it_is_due(self, lab: Lab) -> None:
        lab.enqueue(lab.message("t", group="g"), delay=MINUTE)
        assert waiting(lab) == []
        lab.advance(2 * MINUTE)
        lab.execute(ops.Forward(queue="q"))
        assert groups(lab)["g"].waiting <= SECOND
        assert ids_of(taken_now(lab)) == ["t"]

    # --- ripeness ---------------------------------------------------------------------------------------

    @pytest.mark.parametrize(("offset", "ripe"), BOUNDARY)
    def test_a_group_is_ripe_after_its_grace_period_without_new_tasks(
        self, lab: Lab, offset: int, ripe: bool
    ) -> None:
        add(lab, "a")
        last = whole_second(lab.now)
        add(lab, "b")
        lab.advance_to(last + MINUTE + offset)
        assert ids_of(take(lab)) == (["a", "b"] if ripe else [])
        assert waiting(lab) == ([] if ripe else ["a", "b"])

    @pytest.mark.parametrize(("offset", "ripe"), BOUNDARY)
    def test_a_group_is_ripe_when_its_oldest_task_has_waited_for_the_maximum_delay(
        self, lab: Lab, offset: int, ripe: bool
    ) -> None:
        first = whole_second(lab.now)
        add(lab, "a", "b")
        lab.advance_to(first + 30 * SECOND + offset)
        assert ids_of(take(lab, max_delay=30 * SECOND)) == (["a", "b"] if ripe else [])

    @pytest.mark.parametrize(("count", "ripe"), [(1, False), (2, True), (3, True)])
    def test_a_group_is_ripe_at_its_maximum_size(self, lab: Lab, count: int, ripe: bool) -> None:
        add(lab, *"abc"[:count])
        assert ids_of(take(lab, max_size=2)) == (["a", "b"] if ripe else [])
        assert waiting(lab) == ([] if count == 2 else ["a"] if count == 1 else ["c"])

    @promise("G10")
    def test_a_set_never_exceeds_the_maximum_size(self, lab: Lab) -> None:
        add(lab, "a", "b", "c")
        assert ids_of(taken_now(lab, limit=2)) == ["a", "b"]
        assert groups(lab)["g"].size == 1
        assert ids_of(take(lab)) == ["c"]

    def test_an_empty_group_is_never_ripe(self, lab: Lab) -> None:
        assert take(lab, "nobody", max_size=1) is None
        assert lab.execute(ops.ListQueues()) == ()

    def test_a_group_of_a_paused_queue_is_taken(self, lab: Lab) -> None:
        add(lab, "a")
        lab.execute(ops.PauseQueue(queue="q"))
        assert ids_of(taken_now(lab)) == ["a"]

    # --- taking -----------------------------------------------------------------------------------------

    @promise("G1", "G3")
    def test_taken_tasks_leave_their_group_but_still_exist(self, lab: Lab) -> None:
        add(lab, "a", "b")
        taken = taken_now(lab)
        assert (taken.queue, taken.group) == ("q", "g")
        assert taken.messages[0] == lab.message("a", group="g")
        assert waiting(lab) == []
        assert take(lab) is None
        assert lab.state("a") is TaskState.AGGREGATING
        assert (lab.stats().aggregating, lab.stats().size) == (2, 2)

    @promise("G3", "G10")
    def test_a_repeated_take_returns_the_same_set(self, lab: Lab) -> None:
        add(lab, "a", "b")
        lab.advance(10 * MINUTE)
        first = take(lab, set_id="same")
        add(lab, "c")
        assert take(lab, set_id="same", max_size=1) == first
        assert waiting(lab) == ["c"]

    @promise("G1")
    def test_tasks_added_after_a_take_join_the_next_set(self, lab: Lab) -> None:
        add(lab, "a")
        first = taken_now(lab)
        add(lab, "b")
        second = taken_now(lab)
        assert (ids_of(first), ids_of(second)) == (["a"], ["b"])

    @promise("G10")
    def test_groups_with_one_name_in_two_queues_are_separate(self, lab: Lab) -> None:
        add(lab, "a")
        lab.enqueue(lab.message("b", "other", group="g"))
        assert ids_of(taken_now(lab)) == ["a"]
        assert lab.stats("other").aggregating == 1

    @promise("G3")
    def test_concurrent_takes_return_each_task_once(self, lab: Lab) -> None:
        add(lab, *(f"t{number}" for number in range(20)))
        asking = [
            ops.TakeGroup(queue="q", group="g", set_id=lab.fresh(), grace=1, max_size=3) for _ in range(12)
        ]
        answers = [answer for answer in lab.execute_at_once(asking) if answer]
        found = sorted(
            message.id for taken in answers if not isinstance(taken, Exception) for message in taken.messages
        )
        assert found == sorted(f"t{number}" for number in range(20))

    @promise("G11")
    def test_a_group_member_without_a_task_is_removed(self, lab: Lab) -> None:
        add(lab, "a", "gone", "b")
        lab.harness.lose("q", "gone")
        taken = taken_now(lab)
        assert ids_of(taken) == ["a", "b"]
        lab.execute(ops.ReturnAggregation(taken=taken))
        assert groups(lab)["g"].size == 2

    @promise("G11")
    def test_a_group_without_existing_tasks_yields_no_set(self, lab: Lab) -> None:
        add(lab, "gone")
        lab.harness.lose("q", "gone")
        lab.advance(10 * MINUTE)
        assert take(lab) is None
        lab.advance(10 * MINUTE)
        assert lab.execute(ops.ReclaimAggregations(queue="q")) == 0
        assert groups(lab) == {}

    @promise("G1", "G11")
    def test_an_undecodable_group_member_is_archived_with_the_reason(self, lab: Lab) -> None:
        add(lab, "a", "damaged", "b")
        lab.harness.corrupt("q", "damaged")
        assert ids_of(taken_now(lab)) == ["a", "b"]
        (stored,) = lab.execute(ops.ListTasks(queue="q", state=TaskState.ARCHIVED))
        assert "set aside" in stored.message.error
