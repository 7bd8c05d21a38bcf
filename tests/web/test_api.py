"""Each path of the API that reads, on each kind of broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

import asynq
from asynq.protocol.ops import RecordEnqueueEvent, WriteScheduler, WriteServer
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
from asynq.scheduler.schedules import Schedules
from tests.web.store import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Browser
    from tests.web.store import Store

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()["tasks"]]


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_queues(browser: Browser, store: Store) -> None:
    assert browser.get("/api/queues").json() == {"queues": [], "unreadable": {}}
    store.one_of_each()
    store.enqueue("a", queue="b/<x>")
    queues = browser.get("/api/queues").json()["queues"]
    assert [queue["queue"] for queue in queues] == ["b/<x>", "mail"]
    assert {state: queues[1][state] for state in (*STATES, "aggregating")} == dict.fromkeys(
        (*STATES, "aggregating"), 1
    )
    assert (queues[1]["size"], queues[1]["groups"], queues[1]["paused"]) == (7, 1, False)
    assert (queues[1]["processed"], queues[1]["failed"], queues[1]["succeeded"]) == (3, 2, 1)


def test_a_queue_with_its_history(browser: Browser, store: Store) -> None:
    store.archive("a")
    detail = browser.get("/api/queues/mail").json()
    assert detail["current"]["archived"] == 1
    assert isinstance(detail["current"]["memory_usage_bytes"], int)
    today, *earlier = detail["history"]
    assert (today["processed"], today["failed"], today["succeeded"], len(earlier)) == (1, 1, 0, 9)
    days = browser.get("/api/queue_stats").json()["stats"]["mail"]
    assert (len(days), days[0]) == (90, today)
    assert code(browser.get("/api/queues/nope")) == (404, "queue_not_found")


@pytest.mark.parametrize("state", STATES)
def test_tasks_of_a_state(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    answer = browser.get(f"/api/queues/mail/{state}_tasks")
    assert ids(answer) == [state]
    [task] = answer.json()["tasks"]
    assert (task["state"], task["queue"], task["type"]) == (state, "mail", f"t:{state}")
    assert answer.json()["stats"]["size"] == 7
    assert answer.json()["next_offset"] is None
    known = {
        "scheduled": "next_process_at",
        "retry": "next_process_at",
        "archived": "last_failed_at",
        "completed": "completed_at",
        "pending": "since",
    }
    if state in known:
        assert task[known[state]] is not None
    if state in ("retry", "archived"):
        assert task["error_message"] == "boom"
    if state == "completed":
        assert 3500 < task["ttl_seconds"] <= 3600


def test_an_unknown_state_or_queue_is_not_found(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    assert code(browser.get("/api/queues/mail/dead_tasks")) == (400, "invalid_request")
    assert code(browser.get("/api/queues/nope/pending_tasks")) == (404, "queue_not_found")


def test_pages_from_both_ends(browser: Browser, store: Store) -> None:
    names = [store.enqueue(f"{n}") for n in range(7)]
    path = "/api/queues/mail/pending_tasks"
    assert ids(browser.get(f"{path}?size=3")) == names[:3]
    assert ids(browser.get(f"{path}?size=3&page=2")) == names[3:6]
    last = browser.get(f"{path}?size=3&page=3")
    assert (ids(last), last.json()["next_offset"]) == (names[6:], None)
    assert ids(browser.get(f"{path}?size=3&page=4")) == []
    assert ids(browser.get(f"{path}?size=3&order=desc")) == names[:3:-1]
    assert ids(browser.get(f"{path}?size=3&order=desc&page=3")) == names[:1]
    assert ids(browser.get(f"{path}?size=3&order=desc&page=4")) == []


@pytest.mark.parametrize(
    "query", ["size=0", "size=101", "page=0", "offset=-1", "size=x", "order=up", "tipe=a", "size=1&size=2"]
)
def test_parameters_without_a_meaning_are_refused(browser: Browser, store: Store, query: str) -> None:
    store.enqueue("a")
    assert code(browser.get(f"/api/queues/mail/pending_tasks?{query}")) == (400, "invalid_request")


def test_filters(browser: Browser, store: Store) -> None:
    store.archive("a", error="Timeout at 3", payload={"user": "ann"})
    store.archive("b", error="boom", payload={"user": "bob"})
    path = "/api/queues/mail/archived_tasks"
    for query, found in {
        "type=t:a": ["a"],
        "type=t:*": ["a", "b"],
        "payload=bob": ["b"],
        "error=timeout": ["a"],
        "newer_than=1h": ["a", "b"],
        "older_than=1h": [],
        "error=o&type=*b": ["b"],
    }.items():
        assert ids(browser.get(f"{path}?{query}")) == found, query
        count = browser.get(f"{path}:count?{query}").json()
        assert count == {"count": len(found), "complete": True, "scanned": 2, "total": 2}, query
    assert code(browser.get(f"{path}?older_than=soon")) == (400, "invalid_request")


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_a_filter_looks_at_a_bounded_number_of_tasks(
    browse: Callable[..., Browser], store: Store, order: str
) -> None:
    browser = browse(max_scanned=4)
    names = [store.enqueue(f"{n}", payload="odd" if n % 2 else "even") for n in range(10)]
    wanted = names[1::2] if order == "asc" else names[1::2][::-1]
    path = f"/api/queues/mail/pending_tasks?payload=odd&size=3&order={order}"
    found, offset = [], 0
    while offset is not None:
        answer = browser.get(f"{path}&offset={offset}")
        assert answer.json()["scanned"] <= 4
        found += ids(answer)
        offset = answer.json()["next_offset"]
    assert found == wanted
    count = browser.get("/api/queues/mail/pending_tasks:count?payload=odd").json()
    assert count == {"count": 2, "complete": False, "scanned": 4, "total": 10}
    count = browser.get("/api/queues/mail/pending_tasks:count").json()
    assert count == {"count": 10, "complete": True, "scanned": 10, "total": 10}


def test_groups(browser: Browser, store: Store) -> None:
    for task_id in ("a", "b"):
        store.enqueue(task_id, group="g 1")
    store.enqueue("c", group="g/2")
    groups = browser.get("/api/queues/mail/groups").json()
    assert [(group["group"], group["size"]) for group in groups["groups"]] == [("g 1", 2), ("g/2", 1)]
    assert ids(browser.get("/api/queues/mail/groups/g%201/aggregating_tasks")) == ["a", "b"]
    assert ids(browser.get("/api/queues/mail/groups/~Zy8y/aggregating_tasks")) == ["c"]
    assert ids(browser.get("/api/queues/mail/aggregating_tasks?group=g/2&type=t:*")) == ["c"]
    assert browser.get("/api/queues/mail/aggregating_tasks:count?type=t:*").json()["count"] == 3
    assert code(browser.get("/api/queues/mail/aggregating_tasks")) == (400, "invalid_request")
    assert code(browser.get("/api/queues/mail/pending_tasks?group=g")) == (400, "invalid_request")
    assert code(browser.get("/api/queues/nope/groups")) == (404, "queue_not_found")


def test_a_task(browser: Browser, store: Store) -> None:
    store.enqueue("a", payload={"x": "ä"}, headers={"trace": "1"}, timeout=timedelta(minutes=1))
    task = browser.get("/api/queues/mail/tasks/a").json()
    assert (task["id"], task["payload"], task["headers"]) == ("a", '{"x":"ä"}', {"trace": "1"})
    assert task["payload_facts"] == {"encoding": "text", "size": 10, "truncated": False}
    assert (task["timeout_seconds"], task["runner"], task["then"], task["awaits"]) == (60, None, [], [])
    assert code(browser.get("/api/queues/mail/tasks/b")) == (404, "task_not_found")


def test_bytes_are_shown_in_hexadecimal_and_long_values_are_cut(
    browse: Callable[..., Browser], store: Store
) -> None:
    browser = browse(max_shown=4, max_listed=2)
    store.enqueue("bytes", payload=b"\xff\x00\xff\x00\xff")
    store.enqueue("text", payload=b"abc" + "€".encode())
    store.enqueue("cut", payload="ab€€€")
    shown = {}
    for task_id in ("bytes", "text", "cut"):
        task = browser.get(f"/api/queues/mail/tasks/{task_id}").json()
        shown[task_id] = (
            task["payload"],
            task["payload_facts"]["encoding"],
            task["payload_facts"]["truncated"],
        )
    assert shown == {
        "bytes": ("ff00ff00", "hex", True),
        "text": ("abc", "text", True),
        "cut": ("ab", "text", True),
    }
    listed = browser.get("/api/queues/mail/pending_tasks").json()["tasks"]
    assert [task["payload"] for task in listed] == ["ff00", "ab", "ab"]


def test_a_task_with_followers(browser: Browser, store: Store) -> None:
    store.client.enqueue(asynq.Task("a"), task_id="a", queue="mail", then=[asynq.Task("b")])
    [follower] = browser.get("/api/queues/mail/tasks/a").json()["then"]
    assert (follower["type"], follower["then"]) == ("b", [])


def test_a_task_is_found_in_all_queues(browser: Browser, store: Store) -> None:
    for queue in ("a", "b"):
        store.enqueue("same", queue=queue)
    store.enqueue("other", queue="c")
    assert [task["queue"] for task in browser.get("/api/tasks/same").json()["tasks"]] == ["a", "b"]
    assert browser.get("/api/tasks/none").json() == {"tasks": []}


def test_servers_and_who_runs_a_task(browser: Browser, store: Store) -> None:
    assert browser.get("/api/servers").json() == {"servers": []}
    store.activate("a")
    run = WorkerInfo(
        task_id="a", task_type="t:a", payload=b"\xff", queue="mail", started_at=NOON, deadline=NOON
    )
    server = ServerInfo(
        id="s1", host="h", pid=7, started_at=NOON, concurrency=4, queues={"mail": 2}, workers=(run,)
    )
    store.broker.execute(WriteServer(server=server, ttl=60_000))
    [shown] = browser.get("/api/servers").json()["servers"]
    assert (shown["id"], shown["concurrency"], shown["queue_priorities"]) == ("s1", 4, {"mail": 2})
    [worker] = shown["active_workers"]
    assert (worker["task_id"], worker["task_payload"]) == ("a", "ff")
    task = browser.get("/api/queues/mail/tasks/a").json()
    assert task["runner"] == {"server_id": "s1", "host": "h", "pid": 7}
    [listed] = browser.get("/api/queues/mail/active_tasks").json()["tasks"]
    assert listed["start_time"] == task["start_time"] == "2030-01-01T12:00:00Z"


def test_scheduler_entries_and_their_events(browser: Browser, store: Store) -> None:
    entry = SchedulerEntry(id="e/1", spec="@hourly", task_type="t", options=('Queue("low")',))
    store.broker.execute(WriteScheduler(scheduler_id="s", entries=(entry,), ttl=60_000))
    for n in range(3):
        event = EnqueueEvent(task_id=f"t{n}", enqueued_at=NOON + timedelta(hours=n))
        store.broker.execute(RecordEnqueueEvent(entry_id="e/1", event=event, keep=3_600_000_000))
    [shown] = browser.get("/api/scheduler_entries").json()["entries"]
    assert (shown["id"], shown["spec"], shown["options"]) == ("e/1", "@hourly", ['Queue("low")'])
    events = browser.get("/api/scheduler_entries/~ZS8x/enqueue_events?size=2").json()["events"]
    assert [event["task_id"] for event in events] == ["t2", "t1"]
    events = browser.get("/api/scheduler_entries/~ZS8x/enqueue_events?size=2&page=2").json()["events"]
    assert [event["task_id"] for event in events] == ["t0"]


def test_schedules(browser: Browser, store: Store) -> None:
    with Schedules(store.broker) as schedules:
        schedules.set("nightly", "0 3 * * *", asynq.Task("clean", {"a": 1}), location=ZoneInfo("Europe/Rome"))
    [shown] = browser.get("/api/schedules").json()["schedules"]
    assert (shown["name"], shown["task_type"], shown["location"]) == ("nightly", "clean", "Europe/Rome")
    assert shown["next_run_at"] is not None
    assert browser.get("/api/schedules/nightly").json() == shown
    assert code(browser.get("/api/schedules/nope")) == (404, "entry_not_found")


def test_the_broker(browser: Browser, store: Store) -> None:
    facts = browser.get("/api/broker").json()
    assert facts["backend"] == store.broker.capabilities.backend
    assert facts["time_msec"] > 0
    assert browser.get("/api/health").json() == {"ok": True}
    assert browser.get("/api/doctor").json() == {"findings": [], "complete": True}


def test_paths_and_methods_that_do_not_exist(browser: Browser) -> None:
    assert code(browser.get("/api/nope")) == (404, "not_found")
    assert code(browser.change("PUT", "/api/queues")) == (405, "method_not_allowed")
    assert code(browser.get("/api/queues/~!")) == (404, "not_found")
