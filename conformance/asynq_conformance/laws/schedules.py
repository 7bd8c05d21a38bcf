"""Laws of schedules that are kept in the broker: they are written, paused, deleted and listed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from msgspec.structs import replace

from asynq.protocol import ops
from asynq.protocol.message import TaskMessage
from asynq.protocol.schedules import StoredSchedule
from asynq_conformance.lab import HOUR, Lab
from asynq_conformance.laws import Laws
from asynq_conformance.promises import promise

if TYPE_CHECKING:
    from collections.abc import Sequence

NAMES = ("nightly", "a b", "{x}:y", "\u00fc\n", "s:p:")
FULL = TaskMessage(
    id="",
    type="report:build",
    queue="low",
    payload=bytes(range(256)),
    headers={"trace": "\u00fc"},
    max_retry=3,
    timeout=60,
    deadline=4_000_000_000,
    retention=3600,
    unique_key="asynq:{low}:unique:report:build:",
    group="g",
)


def schedule(name: str = "nightly", **fields: Any) -> StoredSchedule:
    """A schedule of a plain task."""
    plain: dict[str, Any] = {"message": TaskMessage(id="", type="t", queue="q"), **fields}
    return StoredSchedule(name=name, spec="@hourly", location="UTC", **plain)


@promise("G9")
class StoredScheduleLaws(Laws):
    """Schedules in the broker."""

    def write(self, lab: Lab, *schedules: StoredSchedule) -> None:
        """Keep these schedules."""
        for each in schedules:
            lab.execute(ops.WriteSchedule(schedule=each))

    def listed(self, lab: Lab) -> Sequence[StoredSchedule]:
        """All schedules."""
        return lab.execute(ops.ListSchedules())

    def test_a_schedule_is_kept_with_its_whole_task(self, lab: Lab) -> None:
        unique = ops.Unique(ttl=HOUR, until="start", keep=True, on_duplicate="replace")
        whole = schedule(message=FULL, process_in=5000, unique=unique, on_conflict="replace_finished")
        written = lab.now
        self.write(lab, whole)
        assert self.listed(lab) == (replace(whole, since=written),)
        lab.advance(1000 * HOUR)
        assert self.listed(lab) == (replace(whole, since=written),)

    def test_no_schedule_is_listed_before_one_is_kept(self, lab: Lab) -> None:
        assert self.listed(lab) == ()

    def test_schedules_are_listed_by_name(self, lab: Lab) -> None:
        self.write(lab, *(schedule(name) for name in NAMES))
        assert [each.name for each in self.listed(lab)] == sorted(NAMES)

    def test_a_schedule_replaces_the_one_of_its_name(self, lab: Lab) -> None:
        self.write(lab, schedule("a"), schedule("b"), replace(schedule("a"), spec="@daily"))
        assert [(each.name, each.spec) for each in self.listed(lab)] == [("a", "@daily"), ("b", "@hourly")]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_schedule_is_paused_until_its_pause_is_ended(self, lab: Lab, name: str) -> None:
        self.write(lab, schedule(name), schedule("other"))
        for paused in (True, True, False, False):
            assert lab.execute(ops.PauseSchedule(name=name, paused=paused)) is True
            assert {each.name: each.paused for each in self.listed(lab)} == {name: paused, "other": False}

    def test_a_replaced_schedule_stays_paused(self, lab: Lab) -> None:
        self.write(lab, schedule())
        lab.execute(ops.PauseSchedule(name="nightly", paused=True))
        self.write(lab, replace(schedule(), spec="@daily"))
        [kept] = self.listed(lab)
        assert (kept.spec, kept.paused) == ("@daily", True)

    def test_a_new_schedule_is_not_paused(self, lab: Lab) -> None:
        self.write(lab, schedule(paused=True))
        assert [each.paused for each in self.listed(lab)] == [False]

    @pytest.mark.parametrize("name", NAMES)
    def test_a_deleted_schedule_is_gone_with_its_pause(self, lab: Lab, name: str) -> None:
        self.write(lab, schedule(name), schedule("other"))
        lab.execute(ops.PauseSchedule(name=name, paused=True))
        assert lab.execute(ops.DeleteSchedule(name=name)) is True
        assert [each.name for each in self.listed(lab)] == ["other"]
        self.write(lab, schedule(name))
        assert [each.paused for each in self.listed(lab)] == [False, False]

    def test_an_unknown_schedule_is_reported_and_nothing_is_kept(self, lab: Lab) -> None:
        assert lab.execute(ops.PauseSchedule(name="nightly", paused=True)) is False
        assert lab.execute(ops.DeleteSchedule(name="nightly")) is False
        assert self.listed(lab) == ()
        self.write(lab, schedule())
        assert [each.paused for each in self.listed(lab)] == [False]

    def test_another_broker_sees_the_schedules(self, lab: Lab) -> None:
        written = lab.now
        self.write(lab, schedule())
        assert lab.execute_elsewhere(ops.ListSchedules()) == (schedule(since=written),)

    # A scheduler that starts later must not make up for ticks of another version, or of a pause.

    def test_a_changed_schedule_begins_at_the_change(self, lab: Lab) -> None:
        self.write(lab, schedule(), schedule("other"))
        written = lab.now
        lab.advance(HOUR)
        self.write(lab, replace(schedule(), spec="@daily"))
        assert {each.name: each.since for each in self.listed(lab)} == {
            "nightly": written + HOUR,
            "other": written,
        }

    def test_an_unchanged_schedule_does_not_begin_again(self, lab: Lab) -> None:
        written = lab.now
        self.write(lab, schedule(message=FULL))
        lab.advance(HOUR)
        self.write(lab, schedule(message=FULL, since=7, paused=True))
        assert self.listed(lab) == (schedule(message=FULL, since=written),)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_schedule_begins_again_when_its_pause_ends(self, lab: Lab, name: str) -> None:
        self.write(lab, schedule(name), schedule("other"))
        written = lab.now
        for paused, since in ((True, 0), (True, 0), (False, 3 * HOUR), (False, 3 * HOUR)):
            lab.advance(HOUR)
            lab.execute(ops.PauseSchedule(name=name, paused=paused))
            found = {each.name: each.since - written for each in self.listed(lab)}
            assert found == {name: since, "other": 0}

    def test_a_deleted_schedule_leaves_no_beginning(self, lab: Lab) -> None:
        self.write(lab, schedule())
        lab.execute(ops.DeleteSchedule(name="nightly"))
        lab.advance(HOUR)
        written = lab.now
        self.write(lab, schedule())
        assert [each.since for each in self.listed(lab)] == [written]
