"""`asynq cron`, on every kind of broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.protocol.ops import WriteScheduler
from asynq.protocol.presence import SchedulerEntry

if TYPE_CHECKING:
    from tests.cli.commands import Commands


def test_a_schedule_is_added_listed_paused_and_removed(run: Commands) -> None:
    assert "no periodic tasks" in run.ok("cron", "ls").out
    run.ok("cron", "add", "nightly", "0 8 * * *", "report", '{"day": 1}', "--zone", "Europe/Berlin")
    line = run.ok("cron", "ls").out.splitlines()[1]
    assert line.startswith("nightly  0 8 * * *  report")
    assert "in " in line
    run.ok("cron", "pause", "nightly")
    assert "paused" in run.ok("cron", "ls").out
    run.ok("cron", "unpause", "nightly")
    (item,) = run.ok("cron", "ls", "--json").objects
    assert (item["name"], item["zone"], item["stored"]) == ("nightly", "Europe/Berlin", True)
    assert run("cron", "rm", "nightly").status == 2
    run.ok("cron", "rm", "nightly", "--yes")
    assert run.ok("cron", "ls", "--json").objects == []


def test_a_schedule_is_run_by_hand(run: Commands) -> None:
    run.ok("cron", "add", "nightly", "@every 1h", "report", "x", "--queue", "low")
    (item,) = run.ok("cron", "run", "nightly", "--json").objects
    assert run.states("low") == {item["id"]: "pending"}
    assert "has enqueued nothing" in run.ok("cron", "history", "nightly").out


def test_an_unknown_schedule_is_an_error(run: Commands) -> None:
    for command in ("pause", "unpause", "run", "rm"):
        ended = run("cron", command, "nightly")
        assert ended.status == 1
        assert "nightly" in ended.err


def test_a_schedule_that_makes_no_sense_is_refused(run: Commands) -> None:
    assert run("cron", "add", "a", "61 * * * *", "t").status == 2
    assert "no such time zone" in run("cron", "add", "a", "@every 1h", "t", "--zone", "Mars").err
    assert run.ok("cron", "ls", "--json").objects == []


def test_schedules_that_no_scheduler_runs_are_told_so(run: Commands) -> None:
    told = "No scheduler is online"
    assert told not in run.ok("cron", "ls").out
    run.ok("cron", "add", "report", "@daily", "t")
    assert told in run.ok("cron", "ls").out
    assert len(run.ok("cron", "ls", "--json").objects) == 1
    run.ok("cron", "pause", "report")
    assert told not in run.ok("cron", "ls").out
    run.ok("cron", "unpause", "report")
    entry = SchedulerEntry(id="e", spec="@daily", task_type="t")
    run.broker.execute(WriteScheduler(scheduler_id="h:1", entries=(entry,), ttl=60_000))
    assert told not in run.ok("cron", "ls").out
