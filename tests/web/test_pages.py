"""The pages as HTML: what they say, where their links lead, and what their forms do."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest

from asynq import Task
from asynq.protocol.ops import Archive, WriteScheduler
from asynq.protocol.presence import SchedulerEntry
from asynq.scheduler.schedules import Schedules
from asynq.task_state import TaskState
from asynq.web import create_app
from asynq_redis import RedisBroker
from tests.web.conftest import HERE, Browser
from tests.web.store import STATES

if TYPE_CHECKING:
    from tests.web.store import Store

HOSTILE = "<script>alert(1)</script>\"'&/../\u202e"
"""A name or a value that would break a page that does not escape it."""


class Parsed(HTMLParser):
    """The links and the forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fields: dict[str, str] = {}
        self.action = ""
        self.inline: list[str] = []
        self._posts = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.inline += [name for name in given if name.startswith("on") or name == "style"]
        if tag in ("script", "style") and "src" not in given:
            self.inline.append(tag)
        if tag == "a":
            self.links.append(given["href"])
        if tag == "form":
            self._posts = given.get("method") == "post"
            self.action = given["action"] if self._posts else self.action
        if tag == "input" and self._posts and given.get("type") != "checkbox":
            self.fields[given["name"]] = given.get("value", "")


def visit(browser: Browser, path: str, status: int = 200) -> str:
    answer = browser.get(path)
    assert answer.status_code == status, (path, answer.text)
    text: str = answer.text
    return text


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def address(html: str, pattern: str) -> str:
    """The address in a page that contains a regular expression."""
    found = re.search(rf'href="([^"]*{pattern}[^"]*)"', html)
    assert found, pattern
    return unescape(found[1])


def link(html: str, label: str) -> str:
    """The address that a link with this label leads to."""
    found = re.search(rf'<a[^>]*href="([^"]*)"[^>]*>{re.escape(label)}</a>', html)
    assert found, label
    return unescape(found[1])


def confirm(browser: Browser, html: str, label: str, **choices: str) -> str:
    """Follow a link to an action, confirm it, and read the page after it."""
    asked = Parsed(visit(browser, link(html, label)))
    answer = browser.post(asked.action, data={**asked.fields, **choices})
    assert answer.status_code == 200, answer.text
    text: str = answer.text
    return text


def test_every_link_of_every_page_leads_to_a_page(browser: Browser, store: Store) -> None:
    store.one_of_each()
    Schedules(store.broker).set("nightly", "@daily", Task("t"))
    seen: set[str] = set()
    waiting = ["/", "/search?id=pending", "/search?id=none"]
    while waiting:
        path = waiting.pop()
        if path in seen or len(seen) > 400:
            continue
        seen.add(path)
        answer = browser.get(path)
        assert answer.status_code == 200, (path, answer.text)
        if "text/html" in answer.headers["content-type"]:
            page = Parsed(answer.text)
            assert not page.inline, path
            # A confirmation leads back to where it was asked.
            waiting += [
                each for each in page.links if each.startswith("/") and not path.startswith("/confirm")
            ]
    sections = {re.sub(r"[?].*", "", path) for path in seen}
    assert sections >= {
        *("/", "/servers", "/schedules", "/schedules/edit", "/broker", "/broker/doctor", "/activity"),
        *("/queues/mail", "/queues/mail/errors", "/queues/mail/tasks/pending/edit"),
        *(f"/queues/mail/tasks/{state}" for state in STATES),
        *("/confirm/pause_queue", "/confirm/purge_queue", "/confirm/delete_queue", "/confirm/run_task"),
        *("/confirm/archive_task", "/confirm/delete_task", "/confirm/cancel_task", "/confirm/run_all_tasks"),
        *("/confirm/archive_all_tasks", "/confirm/delete_all_tasks", "/confirm/cancel_all_tasks"),
        *("/confirm/reschedule_all_tasks", "/confirm/run_schedule", "/confirm/pause_schedule"),
    }


def test_hostile_names_and_values_are_only_text(browser: Browser, store: Store) -> None:
    name = HOSTILE
    store.archive("a", error=name, queue=name, payload=name)
    store.enqueue(name, queue=name, payload=name)
    store.enqueue("g", queue=name, group=name)
    overview = visit(browser, "/")
    queue = visit(browser, link(overview, "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;&amp;/../\u202e"))
    pages = [overview, queue]
    pages += [visit(browser, address(queue, f"state={state.value}")) for state in TaskState]
    addresses = {path for page in pages for path in Parsed(page).links if path.startswith("/queues/")}
    pages += [visit(browser, path) for path in addresses if "offset" not in path]
    assert any("alert(1)" in page and "Last error" in page for page in pages)
    for page in pages:
        assert "<script>alert" not in page
        assert not Parsed(page).inline


@pytest.mark.parametrize("state", STATES)
def test_a_task_says_what_happens_next(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    said = {
        "pending": "It waits: no server serves its queue.",
        "active": "It is archived after 26 failures.",
        "scheduled": "It is due in ",
        "retry": "Retry 1 of 25 is due in ",
        "archived": "It does not run again unless it is run by hand.",
        "completed": "It is done. It is deleted in ",
    }
    assert said[state] in text_of(visit(browser, f"/queues/mail/tasks/{state}"))


def test_an_action_is_previewed_confirmed_told_and_undone(browser: Browser, store: Store) -> None:
    for name in ("a", "b", "c"):
        store.archive(name, error="card declined" if name != "c" else "boom")
    listed = visit(browser, "/queues/mail?state=archived&error=card")
    asked = visit(browser, link(listed, "Run"))
    assert "Run all archived tasks of queue 'mail' with error 'card' now." in text_of(asked)
    assert "2 tasks will be changed." in text_of(asked)
    assert store.state("a") is TaskState.ARCHIVED
    done = confirm(browser, listed, "Run")
    assert "Done: run all archived tasks of queue 'mail' with error 'card' now (2 tasks)." in text_of(done)
    assert [store.state(name) for name in "abc"] == [TaskState.PENDING, TaskState.PENDING, TaskState.ARCHIVED]

    page = visit(browser, "/queues/mail/tasks/a")
    told = confirm(browser, page, "Archive")
    assert store.state("a") is TaskState.ARCHIVED
    confirm(browser, told, "Undo")
    assert store.state("a") is TaskState.PENDING


def test_a_selection_is_changed(browser: Browser, store: Store) -> None:
    for name in ("a", "b", "c"):
        store.enqueue(name)
    page = visit(
        browser, "/confirm/batch_delete?queue=mail&state=pending&task_ids=a&task_ids=c&next=/queues/mail"
    )
    assert "This cannot be undone." in text_of(page)
    asked = Parsed(page)
    fields: list[tuple[str, Any]] = [*asked.fields.items(), ("task_ids", "a")]
    body = {name: [value] for name, value in fields if name != "task_ids"} | {"task_ids": ["a", "c"]}
    assert "(2 tasks)" in text_of(browser.post(asked.action, data=body).text)
    assert [store.state(name) for name in "abc"] == [None, TaskState.PENDING, None]


def test_a_queue_is_paused_resumed_and_deleted(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    paused = confirm(browser, visit(browser, "/queues/mail"), "Pause")
    assert store.inspector.queue_info("mail").paused
    confirm(browser, paused, "Resume")
    assert not store.inspector.queue_info("mail").paused
    refused = Parsed(visit(browser, link(visit(browser, "/queues/mail"), "Delete queue")))
    assert browser.post(refused.action, data=refused.fields).status_code == 409
    gone = browser.post(refused.action, data={**refused.fields, "force": "true"})
    assert "Done: delete queue 'mail' with all of its tasks" in text_of(gone.text)
    assert store.inspector.queues() == ()


def test_a_payload_is_edited(browser: Browser, store: Store) -> None:
    store.archive("a", payload={"to": "Ann"})
    form = Parsed(visit(browser, "/queues/mail/tasks/a/edit"))
    assert form.fields.keys() >= {"csrf_token", "next", "queue", "task_id"}
    sent = {**form.fields, "payload": '{\r\n"to": "Bo"}', "run": "true"}
    assert browser.post(form.action, data=sent).status_code == 200
    assert store.state("a") is TaskState.PENDING
    assert store.inspector.task("mail", "a").payload == b'{\n"to": "Bo"}'


def test_a_copy_is_enqueued(browser: Browser, store: Store) -> None:
    store.complete("a")
    page = visit(browser, "/queues/mail/tasks/a")
    form = Parsed(visit(browser, link(page, "Enqueue a copy…")))
    done = browser.post(form.action, data={**form.fields, "payload": '"new"'}).text
    assert "Done: enqueue a copy of task 'a' of queue 'mail' with another payload (1 task)." in text_of(done)
    assert [task.payload for task in store.inspector.tasks("mail", "pending")] == [b'"new"']


def test_failed_attempts_are_shown_latest_first_and_not_copied(browser: Browser, store: Store) -> None:
    store.retry("a", error=f"first {HOSTILE}\nsecond line")
    assert "It is archived after 25 more failures." in text_of(visit(browser, "/queues/mail/tasks/a"))
    store.inspector.run_task("mail", "a")
    store.broker.execute(Archive(delivery=store.take(), error="refused"))
    page = visit(browser, "/queues/mail/tasks/a")
    assert re.search(r"Failed attempts.* 2 .* archived refused 1 .* retry first", text_of(page))
    [details] = re.findall(r"<details.*?</details>", page, re.DOTALL)
    assert text_of(details) == " ".join(f"first {HOSTILE}… first {HOSTILE} second line".split())
    assert "<script>alert" not in page
    form = Parsed(visit(browser, link(page, "Enqueue a copy…")))
    assert browser.post(form.action, data=form.fields).status_code == 200
    [copy] = store.inspector.tasks("mail", "pending")
    assert (copy.failures, len(store.inspector.task("mail", "a").failures)) == ((), 2)
    assert "Failed attempts" not in visit(browser, f"/queues/mail/tasks/{copy.id}")


def test_errors_are_grouped_and_lead_to_their_tasks(browser: Browser, store: Store) -> None:
    for number in range(3):
        store.archive(f"a{number}", error=f"timeout after {number}0 s: cannot reach 10.0.0.{number}:5432: no")
    store.archive("b", error="boom")
    page = visit(browser, "/queues/mail/errors")
    assert "3 timeout after … s: cannot reach …: no" in text_of(page)
    listed = visit(browser, address(page, r"error=s%3A\+cannot"))
    assert all(f"a{number}</a>" in listed for number in range(3))
    assert ">b</a>" not in listed


def test_a_schedule_is_added_changed_and_run(browser: Browser, store: Store) -> None:
    form = Parsed(visit(browser, "/schedules/edit"))
    sent = {**form.fields, "name": "nightly", "spec": "0 3 * * *", "task_type": "report", "payload": "{}"}
    page = browser.post(form.action, data=sent).text
    assert "No scheduler is online" in text_of(page)
    [kept] = Schedules(store.broker).list()
    assert (kept.name, kept.spec, kept.task_type, kept.queue) == ("nightly", "0 3 * * *", "report", "default")
    ran = confirm(browser, page, "Run now")
    assert "report" in text_of(visit(browser, link(ran, "Show the task that was enqueued")))
    assert [task.type for task in store.inspector.tasks("default", "pending")] == ["report"]
    confirm(browser, page, "Pause")
    assert Schedules(store.broker).list()[0].paused
    confirm(browser, visit(browser, "/schedules"), "Delete")
    assert not Schedules(store.broker).list()


def test_a_deleted_schedule_is_not_listed_as_one_of_a_program(browser: Browser, store: Store) -> None:
    schedules = Schedules(store.broker)
    schedules.set("nightly", "@daily", Task("t"))
    ids = {"kept": schedules.get("nightly").entry_id, "own": "b"}
    entries = tuple(SchedulerEntry(id=each, spec="@daily", task_type="t") for each in ids.values())
    store.broker.execute(WriteScheduler(scheduler_id="s", entries=entries, ttl=60_000))
    visit(browser, "/schedules")
    schedules.remove("nightly")
    for _ in range(2):
        page = visit(browser, "/schedules")
        assert f'data-key="{ids["own"]}"' in page
        assert ids["kept"] not in page


def test_a_viewer_is_shown_no_actions(browse: Any, store: Store) -> None:
    store.one_of_each()
    Schedules(store.broker).set("nightly", "@daily", Task("t"))
    browser = browse(read_only=True)
    for path in ("/", "/queues/mail", "/queues/mail/tasks/pending", "/schedules", "/queues/mail/errors"):
        assert not [each for each in Parsed(visit(browser, path)).links if "/confirm/" in each], path


def test_pages_have_no_unknown_names(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    assert "does not exist" in text_of(visit(browser, "/queues/nope", 404))
    assert visit(browser, "/queues/mail/tasks/nope", 404)
    assert visit(browser, "/confirm/list_queues", 404)
    assert visit(browser, "/queues/mail?state=pending&size=0", 400)
    assert visit(browser, "/queues/mail?state=nonsense")
    assert visit(browser, "/nope", 404)


def test_a_broker_that_is_away_is_told_with_a_way_to_try_again() -> None:
    broker = RedisBroker("redis://127.0.0.1:1", budget=timedelta(milliseconds=100))
    with (
        closing(broker),
        Browser(create_app(broker), base_url="http://localhost", client=HERE) as browser,
    ):
        page = visit(browser, "/servers?x=1", 503)
    assert "The broker does not answer" in text_of(page)
    assert link(page, "Try again") == "/servers?x=1"


def test_a_change_that_is_not_allowed_says_by_whom(browse: Any, store: Store) -> None:
    store.enqueue("a")
    browser = browse(read_only=True)
    asked = Parsed(visit(browser, "/confirm/pause_queue?queue=mail"))
    refused = browser.post(asked.action, data=asked.fields)
    assert refused.status_code == 403
    assert "You may not do this" in text_of(refused.text)
