"""What changes on a page while a user looks at it, and what waits while the user works in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

import asynq
from asynq.task_state import TaskState
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.browser.conftest import LiveWorker, Site
    from tests.web.store import Store


def test_a_table_is_live_and_waits_while_it_is_worked_in(site: Site, store: Store) -> None:
    store.enqueue("a")
    page = site.open("/queues/mail?state=pending")
    tab = page.get_by_role("link", name=re.compile("^pending"))
    expect(tab).to_contain_text("1")
    store.enqueue("b")
    expect(page.get_by_role("link", name="b", exact=True)).to_be_visible()
    expect(tab).to_contain_text("2")

    box = page.get_by_label("Select task b")
    box.check()
    store.enqueue("c")
    expect(page.get_by_text("1 change", exact=True)).to_be_visible()
    expect(page.get_by_role("status")).to_have_text("The table waits while you work in it.")
    expect(page.get_by_role("link", name="c", exact=True)).to_have_count(0)
    expect(tab).to_contain_text("3")
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.get_by_role("link", name="c", exact=True)).to_be_visible()
    expect(box).to_be_checked()
    expect(page.get_by_text("1 selected")).to_be_visible()
    box.uncheck()
    box.blur()

    page.get_by_label(re.compile("^Type")).focus()
    store.enqueue("d")
    expect(page.get_by_text("1 change", exact=True)).to_be_visible()
    page.get_by_label(re.compile("^Type")).blur()
    expect(page.get_by_role("link", name="d", exact=True)).to_be_visible()

    live = page.get_by_role("button", name="Live")
    live.click()
    paused = page.get_by_role("button", name="Paused")
    store.enqueue("e")
    expect(paused).to_have_attribute("aria-pressed", "false")
    expect(page.get_by_role("link", name="e", exact=True)).to_have_count(0)
    paused.click()
    expect(page.get_by_role("link", name="e", exact=True)).to_be_visible()

    page.goto(f"{site.url}/queues/mail?state=pending&order=desc&size=2")
    page.get_by_label("Select task e").check()
    store.enqueue("f")  # in place of the last row
    expect(page.get_by_text("1 change", exact=True)).to_be_visible()


def test_a_task_is_watched_to_its_end_and_times_go_on(site: Site, store: Store, worker: LiveWorker) -> None:
    store.client.enqueue(asynq.Task("wait"), task_id="a", queue="mail")
    eventually(lambda: store.state("a") is TaskState.ACTIVE)
    page = site.open("/queues/mail/tasks/a")
    expect(page.locator(".head .state")).to_have_text("active")
    page.locator("main time", has_text="2s ago").first.wait_for()
    page.locator("main time", has_text="3s ago").first.wait_for()
    worker.release.set()
    expect(page.get_by_role("status")).to_contain_text("Queue 'mail' has no task 'a' since ")
    expect(page.get_by_role("button", name="Not live")).to_have_class(re.compile("lost"))


def test_the_pages_of_a_browser_leave_each_other_connections(site: Site) -> None:
    first = site.open("/servers")
    pages = [first, *(first.context.new_page() for _ in range(6))]
    for page in pages[1:]:
        page.goto(f"{site.url}/servers")
    rare = "#live.on[title*='every 5 seconds']"
    eventually(lambda: sum(page.locator(rare).count() for page in pages) == 3)
