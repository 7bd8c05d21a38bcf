"""Operators in an incident: others at work, odd payloads, and a web server that is restarted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from playwright.sync_api import expect

import asynq
from asynq.task_state import TaskState
from tests.browser.conftest import Answered, Site, serving
from tests.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.browser.conftest import LiveWorker
    from tests.browser.underneath import Underneath
    from tests.web.store import Store

PAYLOADS = {
    "huge": (b"x" * 100_000, "only its beginning is shown"),
    "binary": (b"\xff\x00\x01", "ff 00 01"),
    "windows": (b"a\r\nb", "text, 4 B"),
}

CLICK_TWICE = """(button) => new Promise((done) => {
  button.click();
  setTimeout(() => { button.click(); done(); }, 200);
})"""
"""The second click comes when the request is sent, and not answered."""


def sent(page: Page) -> None:
    """Confirm what is asked."""
    page.locator("main button[type=submit]").click()


def test_two_operators_and_odd_payloads(
    site: Site, store: Store, worker: LiveWorker, underneath: Underneath
) -> None:
    for number in range(12):
        store.client.enqueue(asynq.Task("fail"), task_id=f"f{number}", queue="mail", max_retry=0)
    eventually(lambda: store.inspector.queue_info("mail").archived == 12)
    page = site.open("/queues/mail?state=archived")
    for name in ("f1", "f2"):
        page.get_by_label(f"Select task {name}", exact=True).check()
    page.get_by_role("button", name="Delete the selected tasks").click()
    # Meanwhile somebody else deletes one of them.
    store.inspector.delete_task("mail", "f2")
    sent(page)
    told = page.locator("main").get_by_role("status")
    expect(told).to_contain_text("(1 task). 1 not changed: queue 'mail' has no task 'f2'.")
    for name, (payload, shown) in PAYLOADS.items():
        store.enqueue(name, queue="odd", payload=payload)
        page.goto(f"{site.url}/queues/odd/tasks/{name}")
        expect(page.locator("main")).to_contain_text(shown)
        page.get_by_role("link", name="Edit…").click()
        expect(page.get_by_text("It stays as it is, unless another one is entered.")).to_be_visible()
        page.get_by_role("button", name="Change the task").click()
        expect(page.get_by_role("alert")).to_contain_text("Nothing is to be changed")
        assert store.inspector.task("odd", name).payload == payload
    # A button that is clicked once more, because nothing seems to happen, acts once.
    page.goto(f"{site.url}/queues/odd/tasks/binary/edit?copy=yes")
    with underneath.held():
        page.get_by_role("button", name="Enqueue the copy").evaluate(CLICK_TWICE)
    expect(told).to_contain_text("Done: enqueue a copy")
    assert store.inspector.queue_info("odd").size == len(PAYLOADS) + 1
    page.goto(f"{site.url}/confirm/pause_queue?queue=odd&next=/queues/odd")
    store.inspector.delete_queue("odd", force=True)
    sent(page)
    expect(page.get_by_role("alert")).to_contain_text("Queue 'odd' does not exist.")
    page.get_by_role("link", name="All queues").click()
    expect(page.get_by_role("heading", name="Queues")).to_be_visible()


def test_a_web_server_that_is_restarted(
    chromium: Browser, store: Store, underneath: Underneath, settings: dict[str, Any]
) -> None:
    answered = Answered()
    store.enqueue("a", queue="still")
    settings |= {"job_wait": 0}
    with underneath.held(), serving(store.broker, answered, **settings) as url:
        site = Site(url, chromium, answered)
        pausing = site.open("/confirm/pause_queue?queue=still&next=/queues/still")
        job = site.open("/confirm/purge_queue?queue=still")
        sent(job)
        expect(job.locator("main")).to_contain_text("Under way: 0 of 1 task")
    with serving(store.broker, answered, port=urlsplit(url).port or 0, **settings):
        expect(job.locator("main")).to_contain_text("The web server was started anew")
        # The token of the page is that of the server before: the page is asked for once more.
        sent(pausing)
        expect(pausing.get_by_role("alert")).to_contain_text(re.compile("load the page again"))
        pausing.get_by_role("link", name="Load the page again").click()
        sent(pausing)
        expect(pausing.locator("main").get_by_role("status")).to_contain_text("Done: pause queue 'still'")
        assert store.inspector.queue_info("still").paused
        assert store.state("a", queue="still") is TaskState.PENDING
        for context in list(chromium.contexts):
            context.close()
