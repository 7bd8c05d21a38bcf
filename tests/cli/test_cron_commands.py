"""`asynq cron`, on every kind of broker."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Client, DuplicateTaskError, Task
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
    assert "has enqueued nothing. Runs by hand are not" in run.ok("cron", "history", "nightly").out


def test_an_unknown_schedule_is_an_error(run: Commands) -> None:
    for command in ("pause", "unpause", "run", "rm", "history"):
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


def test_a_changed_schedule_keeps_what_is_not_given(run: Commands) -> None:
    options = ["--zone", "Europe/Berlin", "--queue", "low", "--max-retry", "3", "--timeout", "1m"]
    added = run.ok("cron", "add", "daily", "0 9 * * *", "report", "x", *options, "--unique", "1h").out
    assert "is kept in the broker: zone Europe/Berlin, queue 'low'" in added
    changed = run.ok("cron", "add", "daily", "0 10 * * *", "report").out
    assert "'daily' is changed: zone Europe/Berlin, queue 'low'" in changed
    (item,) = run.ok("cron", "ls", "--json").objects
    assert (item["spec"], item["zone"], item["queue"]) == ("0 10 * * *", "Europe/Berlin", "low")
    assert all(each in run.ok("cron", "ls").out for each in ("Europe/Berlin", "low"))
    run.ok("cron", "run", "daily")
    (task,) = run.inspector.tasks("low", "pending")
    assert (task.payload, task.max_retry, task.timeout) == (b"x", 3, timedelta(minutes=1))
    assert run("cron", "run", "daily").status == 1  # it is unique


def test_a_changed_schedule_gets_what_is_given(run: Commands) -> None:
    run.ok("cron", "add", "daily", "@daily", "report", "x", "--zone", "Europe/Berlin", "--unique", "1h")
    given = ["--zone", "UTC", "--queue", "low", "--max-retry", "2", "--timeout", "2m"]
    run.ok("cron", "add", "daily", "@daily", "other", *given)
    run.ok("cron", "run", "daily")
    (item,) = run.ok("cron", "ls", "--json").objects
    assert (item["zone"], item["queue"]) == ("UTC", "low")
    (task,) = run.inspector.tasks("low", "pending")
    assert (task.payload, task.max_retry, task.timeout) == (b"", 2, timedelta(minutes=2))
    with pytest.raises(DuplicateTaskError):
        Client(run.broker).enqueue(Task("other"), queue="low", unique=timedelta(hours=1))
