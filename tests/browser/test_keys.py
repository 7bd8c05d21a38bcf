"""Keys of the pages, and buttons that copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playwright.sync_api import expect

if TYPE_CHECKING:
    from tests.browser.conftest import Site
    from tests.web.store import Store


def test_keys_walk_through_the_pages_until_they_are_turned_off(site: Site, store: Store) -> None:
    store.archive("a", payload={"to": "Ann"})
    store.archive("b")
    page = site.open("/queues/mail?state=archived")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("x")
    expect(page.get_by_label("Select task b")).to_be_checked()
    page.keyboard.press("k")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Queues / mail / t")).to_be_visible()
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", name="Servers")).to_be_visible()
    page.keyboard.press("?")
    page.get_by_label("Keys work").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("/")
    expect(page.get_by_label("Find a task by its id")).not_to_be_focused()


def test_an_id_and_a_payload_are_copied(site: Site, store: Store) -> None:
    store.archive("a", payload={"to": "Ann"})
    page = site.open("/queues/mail/tasks/a", permissions=["clipboard-read", "clipboard-write"])
    for label, text in {"Copy the id": "a", "Copy the payload": '{\n  "to": "Ann"\n}'}.items():
        page.get_by_role("button", name=label).click()
        expect(page.get_by_role("button", name="Copied").first).to_be_visible()
        assert page.evaluate("navigator.clipboard.readText()") == text
