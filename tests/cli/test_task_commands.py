"""`asynq task` and `asynq enqueue`, on every kind of broker."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Client, Task

if TYPE_CHECKING:
    from tests.cli.commands import Commands

HOUR = timedelta(hours=1)


def test_tasks_of_every_state_are_listed(run: Commands) -> None:
    run.enqueue("a", payload={"user": 1})
    run.enqueue("b", process_in=HOUR)
    lines = run.ok("task", "ls").out.splitlines()
    assert lines[1].split()[:4] == ["pending", "a", "a", '{"user":1}']
    assert lines[2].split()[:3] == ["scheduled", "b", "b"]
    assert re.search(r"in (59m|1h)", lines[2])


def test_a_listing_is_bounded_for_people_and_whole_for_programs(run: Commands) -> None:
    run.enqueue(*(f"t{number:03}" for number in range(103)))
    assert "The first 100 are shown" in run.ok("task", "ls").out
    assert len(run.ok("task", "ls", "--limit", "0").out.splitlines()) == 104
    assert len(run.ok("task", "ls", "--json").objects) == 103
    assert len(run.ok("task", "ls", "--json", "--limit", "5").objects) == 5


def test_tasks_are_listed_by_what_is_known_of_them(run: Commands) -> None:
    run.enqueue("email:a", "email:b", "report")
    run.fail("timeout")
    run.fail("no such user")
    listed = run.ok(
        "task", "ls", "-s", "archived", "--type", "email:*", "--error", "TIMEOUT", "--json"
    ).objects
    assert [item["id"] for item in listed] == ["email:a"]
    assert run.ok("task", "ls", "-s", "archived", "--older-than", "1h", "--json").objects == []
    assert len(run.ok("task", "ls", "--state", "archived", "--newer-than", "1h", "--json").objects) == 2


def test_what_is_hostile_never_reaches_the_terminal(run: Commands) -> None:
    run.enqueue("a", payload="\x1b[31mred\n\u202e")
    run.fail("\x1b]0;title\x07")
    for command in (("task", "ls"), ("task", "inspect", "a")):
        shown = run.ok(*command).out
        assert not any(char in shown for char in "\x1b\x07\u202e")


def test_a_task_is_shown_whole(run: Commands) -> None:
    run.enqueue("a", payload={"user": 1}, headers={"trace": "x"})
    run.fail("boom")
    shown = run.ok("task", "inspect", "a").out
    for line in ("state         archived", "last error    boom", "header trace  x", '  "user": 1'):
        assert line in shown
    (item,) = run.ok("task", "inspect", "a", "--json").objects
    assert (item["payload"], item["payload_base64"], item["result"]) == ('{"user":1}', None, None)


def test_failed_attempts_are_lines_with_the_latest_first_and_not_copied(run: Commands) -> None:
    run.enqueue("a")
    run.fail("refused\nagain")
    run.inspector.run_task("default", "a")
    assert "failed attempts" in run.ok("task", "inspect", "a").out
    run.fail("boom")
    lines = run.ok("task", "inspect", "a").out.splitlines()
    head, *attempts = lines[lines.index("failed attempts:") + 1 :]
    assert head.split() == ["attempt", "failed", "ran", "for", "became", "error"]
    assert [(line.split()[0], *line.split()[-2:]) for line in attempts] == [
        ("2", "archived", "boom"),
        ("1", "archived", "refused\\nagain"),
    ]
    (item,) = run.ok("task", "inspect", "a", "--json").objects
    copy = {"task_id": "b"} | {name: item[name] for name in ("type", "payload", "headers")}
    run.ok("enqueue", "-", stdin=json.dumps(copy))
    assert [len(run.inspector.task("default", task_id).failures) for task_id in "ab"] == [2, 0]
    assert "failed attempts" not in run.ok("task", "inspect", "b").out


def test_the_followers_of_a_task_are_shown(run: Commands) -> None:
    mail = Task("mail", queue="mails", task_id="m")
    run.enqueue("a", then=[Task("render", task_id="r", then=mail), Task("stock", task_id="s")])
    shown = run.ok("task", "inspect", "a").out
    assert [line.split() for line in shown.splitlines() if line.startswith("then")] == [
        ["then", "render", "r", "of", "queue", "default"],
        ["then", "then", "mail", "m", "of", "queue", "mails"],
        ["then", "stock", "s", "of", "queue", "default"],
    ]


def test_what_a_waiting_task_waits_for_is_shown(run: Commands) -> None:
    with Client(run.broker) as client:
        joined = client.enqueue_join(
            [Task("page"), Task("page", queue="low")], then=Task("book", task_id="b")
        )
        client.enqueue_many([Task("step", task_id="s1"), Task("step", task_id="s2")], sequence="s")
    listed = run.ok("task", "ls", "--state", "scheduled").out
    assert re.search(r"^b .*after 2 tasks", listed, re.MULTILINE)
    assert re.search(r"^s2 .*after others of s$", listed, re.MULTILINE)
    shown = run.ok("task", "inspect", "b").out
    assert re.search(r"^next run +after 2 tasks$", shown, re.MULTILINE)
    assert [line.split() for line in shown.splitlines() if line.startswith("waits for")] == [
        ["waits", "for", task_id, "of", "queue", queue] for queue, task_id in joined.awaits
    ]
    shown = run.ok("task", "inspect", "s2").out
    assert re.search(r"^next run +after others of its sequence$", shown, re.MULTILINE)


def test_lines_of_a_pipe_end_with_their_text(run: Commands) -> None:
    run.enqueue("a", headers={"trace": "x" * 50})
    for command in (("task", "inspect", "a"), ("task", "ls"), ("queue", "ls"), ("stats",)):
        lines = run.ok(*command).out.splitlines()
        assert [line for line in lines if line != line.rstrip()] == []


def test_bytes_that_are_no_text_are_base64_in_json(run: Commands) -> None:
    run.enqueue("a", payload=b"\xff\x00")
    (item,) = run.ok("task", "inspect", "a", "--json").objects
    assert (item["payload"], item["payload_base64"]) == (None, "/wA=")
    assert "2 bytes that are not text" in run.ok("task", "ls").out


def test_tasks_are_changed_by_their_ids(run: Commands) -> None:
    run.enqueue("a", "b", process_in=HOUR)
    assert "Task 'a' was made pending" in run.ok("task", "run", "a").out
    run.ok("task", "archive", "b")
    assert run.states() == {"a": "pending", "b": "archived"}
    run.ok("task", "delete", "a", "b")
    assert run.states() == {}


def test_a_task_that_cannot_be_changed_does_not_keep_others_from_it(run: Commands) -> None:
    run.enqueue("a", "b")
    ended = run("task", "archive", "none", "a", "--json")
    assert ended.status == 1
    assert ended.objects == [{"id": "a", "changed": True}]
    assert "none" in ended.err


def test_tasks_that_are_selected_are_counted_before_they_are_changed(run: Commands) -> None:
    run.enqueue("email:a", "email:b", "report", process_in=HOUR)
    select = ("--state", "scheduled", "--type", "email:*")
    assert run.ok("task", "run", *select, "--dry-run").out == (
        "2 tasks would be made pending: scheduled tasks in queue 'default' (type 'email:*').\n"
    )
    ended = run("task", "run", *select)
    assert ended.status == 2
    assert "run 2 tasks: scheduled tasks in queue 'default' (type 'email:*')" in ended.err
    assert set(run.states().values()) == {"scheduled"}
    assert run.ok("task", "run", *select, "--yes", "--json").objects == [{"selected": 2, "changed": 2}]
    assert run.states() == {"email:a": "pending", "email:b": "pending", "report": "scheduled"}


@pytest.mark.parametrize("command", [("run",), ("reschedule", "--process-in", "1h")])
@pytest.mark.parametrize("selection", [(), ("--type", "*")])
def test_tasks_that_wait_for_their_turn_are_not_counted_if_they_are_left(
    run: Commands, command: tuple[str, ...], selection: tuple[str, ...]
) -> None:
    run.enqueue("first", "second", sequence="s")
    run.enqueue("later", process_in=timedelta(hours=1))
    arguments = ("task", command[0], "--state", "scheduled", *selection, *command[1:], "--json")
    (counted,) = run.ok(*arguments, "--dry-run").objects
    (changed,) = run.ok(*arguments, "--yes").objects
    assert (counted, changed) == ({"selected": 1}, {"selected": 1, "changed": 1})
    archived = run.ok("task", "archive", "--state", "scheduled", "--dry-run", "--json").objects
    assert archived == [{"selected": 1 if command[0] == "run" else 2}]


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (("run",), "give the ids"),
        (("run", "a", "--state", "archived"), "not both"),
        (("run", "--state", "done"), "--state 'done': use one of"),
        (("run", "--state", "pending", "--yes"), "state"),
        (("run", "--state", "retry", "--group", "g"), "--group"),
        (("run", "a", "--dry-run"), "--dry-run"),
        (("run", "--state", "retry", "--older-than", "soon"), "--older-than"),
        (("reschedule", "a"), "--process-in or --process-at"),
        (("reschedule", "a", "--process-at", "2030-01-01T00:00"), "time zone"),
        (("reschedule", "a", "--process-at", "tomorrow"), "ISO 8601"),
    ],
)
def test_options_that_have_no_meaning_are_refused_before_anything_changes(
    run: Commands, args: tuple[str, ...], reason: str
) -> None:
    run.enqueue("a")
    ended = run("task", *args)
    assert ended.status == 2
    assert reason in ended.err
    assert run.states() == {"a": "pending"}


def test_tasks_are_rescheduled(run: Commands) -> None:
    run.enqueue("a", "b", process_in=HOUR)
    run.ok("task", "reschedule", "a", "--process-at", "2100-01-01T00:00:00Z")
    assert "2100-01-01" in run.ok("task", "inspect", "a").out
    run.ok("task", "reschedule", "--state", "scheduled", "--type", "b", "--process-in", "3h", "--yes")
    assert re.search(r"in (2h 59m|3h)", run.ok("task", "inspect", "b").out)


def test_active_tasks_are_cancelled_by_id_or_all(run: Commands) -> None:
    run.enqueue("a")
    run.take()
    assert "told to end" in run.ok("task", "cancel", "a").out
    assert "1 task told to end" in run.ok("task", "cancel", "--all", "--yes").out
    run.enqueue("b")
    ended = run("task", "cancel", "b")
    assert ended.status == 1
    assert "is not active" in ended.out


def test_one_task_is_enqueued(run: Commands) -> None:
    (item,) = run.ok(
        "enqueue", "email:send", '{"user": 1}', "-q", "low", "--max-retry", "3", "--timeout", "10s",
        "--process-in", "1h", "--header", "trace=x", "--id", "one", "--json",
    ).objects  # fmt: skip
    assert (item["id"], item["queue"], item["state"]) == ("one", "low", "scheduled")
    task = run.inspector.task("low", "one")
    assert (task.payload, task.max_retry, task.timeout) == (b'{"user":1}', 3, timedelta(seconds=10))
    assert task.headers == {"trace": "x"}


def test_a_task_that_is_there_is_an_error(run: Commands) -> None:
    run.ok("enqueue", "a", "--id", "one")
    ended = run("enqueue", "a", "--id", "one")
    assert ended.status == 1
    assert "one" in ended.err


def test_tasks_are_enqueued_from_json_lines(run: Commands) -> None:
    lines = [
        {"type": "a", "payload": {"x": 1}, "task_id": "a"},
        {"type": "b", "payload": "text", "task_id": "b", "process_in": "1h"},
        {"type": "c", "payload_base64": "/wA=", "task_id": "c", "process_in": 60, "max_retry": 1},
        {"type": "d", "task_id": "d", "queue": "low"},
    ]
    stdin = "\n\n".join(map(json.dumps, lines))
    assert run.ok("enqueue", "-", "--max-retry", "7", stdin=stdin).out == "4 tasks enqueued.\n"
    assert run.states() == {"a": "pending", "b": "scheduled", "c": "scheduled"}
    tasks = {task_id: run.inspector.task("default", task_id) for task_id in "abc"}
    assert [task.payload for task in tasks.values()] == [b'{"x":1}', b"text", b"\xff\x00"]
    assert [task.max_retry for task in tasks.values()] == [7, 7, 1]
    assert run.states("low") == {"d": "pending"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "line 2 is not JSON: Expecting property name enclosed in double quotes at character 2"),
        ("[]", "line 2: a task is a JSON object"),
        ('{"payload": 1}', '"type" is missing'),
        ('{"type": "b", "max_retires": 1}', "'max_retires' is not known"),
        ('{"type": "b", "timeout": "soon"}', '"timeout"'),
        ('{"type": "b", "max_retry": -1}', "max_retry"),
        ('{"type": "b", "process_at": "2030-01-01"}', "process_at"),
        ('{"type": "b", "payload": 1, "payload_base64": ""}', "not both"),
        ('{"type": ""}', "type"),
        ('{"type": "b", "process_in": 1e400}', "process_in"),
        pytest.param("[" * 100_000, "line 2", id="nested too deeply"),
    ],
)
def test_a_line_that_is_no_task_ends_the_input(run: Commands, line: str, reason: str) -> None:
    ended = run("enqueue", "-", stdin=f'{{"type": "a", "task_id": "a"}}\n{line}\n{{"type": "c"}}\n')
    assert ended.status == 1
    assert reason in ended.err
    assert ended.out == "1 task enqueued.\n"
    assert run.states() == {"a": "pending"}


def test_refused_tasks_are_told_with_their_lines_and_others_are_enqueued(run: Commands) -> None:
    line = '{"type": "a", "task_id": "a"}\n'
    ended = run("enqueue", "-", "--json", stdin=line + line + '{"type": "b", "task_id": "b"}')
    assert ended.status == 1
    assert ended.err.startswith("line 2: ")
    assert ended.objects == [{"enqueued": 2, "refused": 1}]


def test_a_task_is_found_in_any_queue(run: Commands) -> None:
    run.enqueue("a", "b", "c", queue="low", process_in=timedelta(hours=1))
    run.enqueue("d")
    assert run.ok("task", "inspect", "a", "--json").objects[0]["queue"] == "low"
    run.ok("task", "run", "a")
    run.ok("task", "reschedule", "b", "--process-in", "2h")
    run.ok("task", "archive", "b")
    run.ok("task", "delete", "c", "d")
    assert run.states("low") == {"a": "pending", "b": "archived"}
    assert run.states() == {}


def test_an_id_of_no_queue_is_an_error(run: Commands) -> None:
    run.enqueue("a1")
    for command in (["inspect"], ["delete"], ["cancel"], ["reschedule", "--process-in", "1h"]):
        ended = run("task", *command, "a")
        assert ended.status == 1
        assert "no queue has a task 'a'. Ids must be whole" in ended.err
        ended = run("task", *command, "a", "--queue", "default")
        assert ended.status == 1
        assert "queue 'default' has no task 'a'. Ids must be whole" in ended.err


def test_an_id_of_several_queues_is_an_error_that_names_them(run: Commands) -> None:
    run.enqueue("a")
    run.enqueue("a", queue="low")
    ended = run("task", "delete", "a")
    assert ended.status == 1
    assert "several queues have a task 'a': 'default', 'low'. Choose one with --queue" in ended.err
    run.ok("task", "delete", "a", "--queue", "low")
    assert (run.states(), run.states("low")) == ({"a": "pending"}, {})


def test_a_payload_of_the_command_line_is_stored_as_that_of_a_program(run: Commands) -> None:
    payloads = {
        '{"b": 1, "a": [1, 2]}': b'{"a":[1,2],"b":1}',
        "{broken": b"{broken",
        "[NaN]": b"[NaN]",
        '"text"': b'"text"',
        "1.50": b"1.50",
    }
    for number, given in enumerate(payloads):
        run.ok("enqueue", "t", given, "--id", str(number))
    stored = [run.inspector.task("default", str(number)).payload for number in range(len(payloads))]
    assert stored == [*payloads.values()]
    run.ok("cron", "add", "n", "@daily", "t", '{"b": 1, "a": [1, 2]}')
    assert run.ok("cron", "ls", "--json").objects[0]["payload"] == '{"a":[1,2],"b":1}'
