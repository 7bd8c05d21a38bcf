"""What a user of the web interface sees and does, in a real browser, beside a live worker."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from asynq.task_state import TaskState

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Site
    from tests.web.store import Store

HOSTILE = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


def confirm(page: Page, label: str) -> None:
    """Follow the link to an action, and confirm it."""
    page.get_by_role("link", name=label, exact=True).click()
    expect(page.get_by_role("heading", name="Please confirm")).to_be_visible()
    page.locator("main button[type=submit]").click()


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
    page.locator("tbody a").first.click()
    waiting = [each.get_attribute("href") or "" for each in page.locator(".tabs a").all()]
    seen: set[str] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        page.goto(site.url + path)
        waiting += [each.get_attribute("href") or "" for each in page.locator("tbody a").all()]
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
