"""`asynq queue`, `group`, `server`, `stats` and `doctor`, on every kind of broker."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from asynq.cli.stats import follow
from asynq.cli.terminal.output import Output
from asynq.protocol.ops import WriteServer
from asynq.protocol.presence import ServerInfo

if TYPE_CHECKING:
    from tests.cli.commands import Commands


def test_queues_are_listed_with_their_sizes(run: Commands) -> None:
    assert "no queue yet" in run.ok("queue", "ls").out
    run.enqueue("a", "b")
    run.enqueue("c", queue="low")
    run.fail("boom")
    table = run.ok("queue", "ls").out.splitlines()
    assert table[0].split()[:3] == ["queue", "size", "active"]
    assert table[1].split()[:4] == ["default", "2", "0", "1"]
    items = run.ok("queue", "ls", "--json").objects
    assert [(item["queue"], item["size"], item["archived"]) for item in items] == [
        ("default", 2, 1),
        ("low", 1, 0),
    ]


def test_a_queue_is_shown_with_all_its_statistics(run: Commands) -> None:
    run.enqueue("a")
    run.fail("boom")
    shown = run.ok("queue", "inspect", "default").out
    assert "archived          1" in shown
    assert "1 100.0%" in shown
    (item,) = run.ok("queue", "inspect", "default", "--json").objects
    assert item["failed_total"] == 1
    assert isinstance(item["latency"], float)


def test_history_of_queues_has_the_days_that_are_asked_for(run: Commands) -> None:
    run.enqueue("a")
    run.fail("boom")
    days = run.ok("queue", "history", "default", "--days", "3", "--json").objects
    assert [day["failed"] for day in days] == [1, 0, 0]


def test_a_queue_is_paused_and_unpaused(run: Commands) -> None:
    run.enqueue("a")
    assert "is paused" in run.ok("queue", "pause", "default").out
    assert "already paused" in run.ok("queue", "pause", "default").out
    assert "paused" in run.ok("queue", "ls").out
    assert run.ok("queue", "resume", "default", "--json").objects == [
        {"queue": "default", "paused": False, "changed": True}
    ]
    assert not run.inspector.queue_info("default").paused


def test_an_unknown_queue_is_an_error_that_names_the_nearest(run: Commands) -> None:
    run.enqueue("a", queue="critical")
    ended = run("queue", "inspect", "critcal")
    assert (ended.status, ended.out) == (1, "")
    assert "Did you mean critical?" in ended.err


def test_one_failure_does_not_keep_other_queues_from_it(run: Commands) -> None:
    run.enqueue("a")
    ended = run("queue", "pause", "none", "default")
    assert ended.status == 1
    assert "'none' does not exist" in ended.err
    assert run.inspector.queue_info("default").paused


def test_a_queue_with_tasks_is_only_deleted_by_force_and_when_asked_for(run: Commands) -> None:
    run.enqueue("a")
    assert "--force deletes them too" in run("queue", "rm", "default").err
    ended = run("queue", "rm", "--force", "default")
    assert ended.status == 2
    assert "delete queue 'default' with 1 task" in ended.err
    assert run.inspector.queues() == ("default",)
    run.ok("queue", "rm", "--force", "--yes", "default")
    assert run.inspector.queues() == ()


def test_a_purged_queue_has_only_its_active_tasks(run: Commands) -> None:
    run.enqueue("a", "b")
    taken = run.take()
    assert run("queue", "purge", "default").status == 2
    (item,) = run.ok("queue", "purge", "default", "--yes", "--json").objects
    assert item == {"queue": "default", "deleted": 1}
    assert run.states() == {taken: "active"}


@pytest.mark.parametrize("name", ["list", "ls"])
def test_groups_are_listed(run: Commands, name: str) -> None:
    run.enqueue("a", "b", group="g")
    assert run.ok("group", name).out.splitlines()[1].split()[:2] == ["g", "2"]
    assert run.ok("group", "ls", "--json").objects[0]["size"] == 2
    assert run("group", "ls", "-q", "none").status == 1


def test_statistics_sum_up_all_queues(run: Commands) -> None:
    run.enqueue("a", "b")
    run.enqueue("c", queue="low")
    run.fail("boom")
    page = run.ok("stats").out
    assert page.startswith("3 tasks · 2 queues · 0 servers online · 1 processed today, 100.0% failed")
    (item,) = run.ok("stats", "--json").objects
    assert item["aggregate"]["archived"] == 1
    assert [queue["queue"] for queue in item["queues"]] == ["default", "low"]


@pytest.mark.parametrize("as_json", [False, True])
def test_a_watched_page_is_printed_to_a_file_when_it_changes(run: Commands, *, as_json: bool) -> None:
    run.enqueue("a")
    written = io.StringIO()
    pauses = iter(range(4))

    def pause() -> None:
        number = next(pauses)
        if number == 1:
            run.enqueue("b")
        elif number == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(run.inspector, Output(as_json=as_json, stream=written), pause)
    if as_json:
        assert len(written.getvalue().splitlines()) == 4
    else:
        assert written.getvalue().count("queue ") == 4  # in two pages, each with a title and a summary


def test_a_probe_fails_until_all_queues_are_served(run: Commands) -> None:
    run.enqueue("a")
    run.enqueue("b", queue="tenant-1")
    assert run("server", "ls", "--check").status == 1

    def online(*queues: str, status: str = "active") -> None:
        server = ServerInfo(
            id="s",
            host="h",
            pid=1,
            started_at=datetime.now(UTC),
            concurrency=1,
            queues=dict.fromkeys(queues, 1),
            status=status,
        )
        run.broker.execute(WriteServer(server=server, ttl=60_000))

    online("default")
    ended = run("server", "ls", "--check")
    assert (ended.status, ended.err) == (1, "Error: no server serves 'tenant-1'\n")
    assert "default=1" in ended.out
    run.ok("server", "ls", "--check", "--queue", "default")
    online("default", "tenant-*")
    run.ok("server", "ls", "--check")
    online("default", "tenant-*", status="stopped")
    assert run("server", "ls", "--check").status == 1


def test_no_server_is_online_until_one_starts(run: Commands) -> None:
    assert "No server is online" in run.ok("server", "ls").out
    assert run.ok("server", "ls", "--json").objects == []
    assert "No server has reported a run" in run.ok("server", "ls", "--runs").out


def test_a_store_without_damage_is_told_so(run: Commands) -> None:
    run.enqueue("a")
    assert run.ok("doctor").out == "No damage was found.\n"


def test_queues_are_paused_by_patterns_and_all_together(run: Commands) -> None:
    for name in ("tenant-1", "tenant-2", "other", "a*"):
        run.enqueue("t", queue=name)

    def paused() -> list[str]:
        return [info["queue"] for info in run.ok("queue", "ls", "--json").objects if info["paused"]]

    asked = run("queue", "pause", "tenant-*")
    assert (asked.status, paused()) == (2, [])
    assert "pause 2 queues: 'tenant-1', 'tenant-2'" in asked.err
    run.ok("queue", "pause", "tenant-*", "other", "--yes")
    assert paused() == ["other", "tenant-1", "tenant-2"]
    run.ok("queue", "pause", "a[*]")
    assert paused() == ["a*", "other", "tenant-1", "tenant-2"]
    run.ok("queue", "unpause", "*-1", "--yes")
    assert paused() == ["a*", "other", "tenant-2"]
    run.ok("queue", "unpause", "--all", "--yes")
    assert paused() == []


def test_a_pattern_that_no_queue_matches_changes_nothing(run: Commands) -> None:
    run.enqueue("t")
    ended = run("queue", "pause", "default", "tenant-*", "--yes")
    assert ended.status == 1
    assert "no queue matches 'tenant-*'" in ended.err
    for arguments in ((), ("default", "--all")):
        assert run("queue", "pause", *arguments).status == 2
    assert not run.inspector.queue_info("default").paused
