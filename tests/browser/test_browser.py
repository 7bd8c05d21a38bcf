"""What a user of the web interface sees and does, in a real browser, beside a live worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

import asynq
from asynq.task_state import TaskState
from tests.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import LiveWorker, Site
    from tests.web.store import Store

both_brokers = pytest.mark.parametrize("store", ["sqlite", "redis"], indirect=True)
"""For what brokers do. What only browsers do is seen on one of them."""

HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


def confirm(page: Page, label: str) -> None:
    """Follow the link to an action, and confirm it."""
    page.get_by_role("link", name=label, exact=True).click()
    expect(page.get_by_role("heading", name="Please confirm")).to_be_visible()
    page.locator("main button[type=submit]").click()


@both_brokers
def test_the_overview_is_live_and_narrowed_by_name(site: Site, store: Store, worker: LiveWorker) -> None:
    page = site.open()
    expect(page.get_by_text("There is no queue yet.")).to_be_visible()
    store.client.enqueue(asynq.Task("wait"), queue="mail")
    store.enqueue("a", queue="other")
    row = page.get_by_role("row", name=re.compile("^mail"))
    expect(row.get_by_role("link", name="1")).to_have_attribute("href", "/queues/mail?state=active")
    page.get_by_label("Narrow the queues by name").fill("oth")
    expect(row).to_be_hidden()
    expect(page.get_by_role("row", name=re.compile("^other"))).to_be_visible()
    # A later reading replaces the table, and what is typed still holds.
    store.enqueue("b", queue="another")
    expect(page.get_by_role("row", name=re.compile("^another"))).to_be_visible()
    expect(row).to_be_hidden()
    worker.release.set()


@both_brokers
def test_a_selection_is_run_by_the_worker(site: Site, store: Store, worker: LiveWorker) -> None:
    for name in ("a", "b", "c"):
        store.client.enqueue(asynq.Task("fail"), task_id=name, queue="mail", max_retry=0)
    eventually(lambda: store.inspector.queue_info("mail").archived == 3)
    page = site.open("/queues/mail?state=archived")
    run = page.get_by_role("button", name="Run")
    expect(run).to_be_disabled()
    page.get_by_label("Select task a").check()
    expect(page.get_by_text("1 selected")).to_be_visible()
    page.get_by_label("Select all tasks of this page").check()
    expect(page.get_by_text("3 selected")).to_be_visible()
    page.get_by_label("Select task c").uncheck()
    run.click()
    expect(page.get_by_text("Run 2 archived tasks of queue 'mail' now.")).to_be_visible()
    page.get_by_role("button", name="Run").click()
    expect(page.get_by_role("status")).to_contain_text("Done: run 2 archived tasks of queue 'mail' now")
    eventually(lambda: store.inspector.queue_info("mail").processed == 5)


@both_brokers
def test_a_run_is_cancelled(site: Site, store: Store, worker: LiveWorker) -> None:
    store.client.enqueue(asynq.Task("wait"), task_id="a", queue="mail")
    eventually(lambda: store.state("a") is TaskState.ACTIVE)
    page = site.open("/queues/mail/tasks/a")
    expect(page.get_by_text("It runs now.")).to_be_visible()
    confirm(page, "Cancel")
    expect(page.get_by_role("status")).to_contain_text("Done: end the run of task 'a'")
    eventually(lambda: store.state("a") is TaskState.ARCHIVED)


@both_brokers
def test_a_task_is_edited_found_and_run(site: Site, store: Store, worker: LiveWorker) -> None:
    store.archive("a", payload={"to": "Ann"})
    page = site.open()
    page.keyboard.press("/")
    page.keyboard.type("a")
    page.keyboard.press("Enter")
    page.get_by_role("cell", name="a", exact=True).get_by_role("link").click()
    page.get_by_role("link", name="Edit…").click()
    page.get_by_label("Payload").fill('{\n  "to": "Bo"\n}')
    page.get_by_role("button", name="Change the task").click()
    expect(page.get_by_role("status")).to_contain_text("Done: change task 'a'")
    assert store.inspector.task("mail", "a").payload == b'{\n  "to": "Bo"\n}'
    confirm(page, "Run now")
    eventually(lambda: store.state("a") is None)


@both_brokers
@pytest.mark.parametrize("label", ["Run", "Archive", "Delete"])
def test_all_that_match_are_changed(site: Site, store: Store, label: str) -> None:
    for name in ("a", "b", "c"):
        store.enqueue(name, process_in=asynq.durations.parse_duration("1h"))
    page = site.open("/queues/mail?state=scheduled")
    page.get_by_label(re.compile("^Type")).fill("t:[ab]")
    page.get_by_role("button", name="Filter").click()
    confirm(page, label)
    expect(page.get_by_role("status")).to_contain_text("(2 tasks)")
    assert store.state("c") is TaskState.SCHEDULED
    assert (
        store.state("a") is {"Run": TaskState.PENDING, "Archive": TaskState.ARCHIVED, "Delete": None}[label]
    )


def test_a_queue_is_paused_from_the_overview_and_that_is_undone(site: Site, store: Store) -> None:
    store.enqueue("a")
    page = site.open()
    confirm(page, "Pause")
    expect(page.get_by_role("row", name=re.compile("^mail paused"))).to_be_visible()
    page.get_by_role("link", name="Activity").click()
    confirm(page, "Undo")
    assert not store.inspector.queue_info("mail").paused


def test_the_theme_is_remembered(site: Site) -> None:
    page = site.open()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    button = page.get_by_role("button", name=re.compile("^Theme"))
    button.click()
    button.click()
    assert button.get_attribute("aria-label") == "Theme: dark"
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != ground


def test_hostile_names_and_values_run_no_script(site: Site, store: Store) -> None:
    store.archive("a", queue=HOSTILE, payload=HOSTILE, error=HOSTILE)
    store.enqueue(HOSTILE, queue=HOSTILE, group=HOSTILE)
    page = site.open()
    page.locator("table a").first.click()
    waiting = [each.get_attribute("href") or "" for each in page.locator(".tabs a").all()]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        page.goto(site.url + path)
        waiting += [each.get_attribute("href") or "" for each in page.locator("table a").all()]
        assert page.title() != "broken"
        assert page.locator("main img, main script").count() == 0
    assert sum("/tasks/" in path for path in seen) == 2


def test_pages_are_read_without_scripts(site: Site, store: Store) -> None:
    store.archive("a", error="boom")
    page = site.open("/", java_script_enabled=False)
    page.get_by_role("link", name="mail", exact=True).click()
    page.get_by_role("link", name=re.compile("^archived")).click()
    page.get_by_role("link", name="a", exact=True).click()
    expect(page.locator("pre").first).to_have_text("boom")
    confirm(page, "Run now")
    assert store.state("a") is TaskState.PENDING


@pytest.mark.parametrize(
    "path", ["/", "/queues/mail?state=archived", "/queues/mail/tasks/archived", "/schedules"]
)
def test_a_phone_shows_the_page_without_scrolling_sideways(site: Site, store: Store, path: str) -> None:
    store.one_of_each()
    page = site.open(path, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
