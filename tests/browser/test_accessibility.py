"""Every page is usable: with axe-core, on a phone, enlarged, by keyboard, and with a screen reader."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from asynq import Task
from asynq.scheduler.schedules import Schedules
from tests.web.store import STATES

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.browser.conftest import Site
    from tests.web.store import Store

EMPTY = (
    *("/", "/servers", "/schedules", "/schedules/edit", "/broker/doctor", "/activity"),
    *("/search?id=none", "/nope"),
)
FULL = (
    *("/?done=1", "/schedules", "/schedules/edit?name=nightly", "/broker", "/broker/doctor", "/activity"),
    *("/search?id=retry", "/charts"),
    *(f"/queues/mail?state={state}" for state in (*STATES, "aggregating")),
    *("/queues/mail?state=aggregating&group=g", "/queues/mail?state=retry&type=none"),
    *("/queues/mail/errors", "/queues/mail/tasks/archived", "/queues/mail/tasks/retry/edit"),
    *("/confirm/delete_queue?queue=mail", "/confirm/batch_reschedule?queue=mail&state=retry&task_ids=retry"),
)
PHONE = 360
ENLARGED = 640
"""Widths of windows: that of a phone, and that of a page of 1280 that is shown twice as large."""

AMBIGUOUS = """() => {
  const named = (each) => each.ariaLabel || [...(each.labels || [])].map((label) => label.innerText).join(" ")
    || each.innerText || each.querySelector("img[alt]")?.alt || "";
  const targets = {};
  for (const each of document.querySelectorAll("a, button, input, select, textarea, summary")) {
    if (each.type === "hidden" || !each.checkVisibility()) continue;
    (targets[`${each.tagName} ${named(each).trim()}`] ??= new Set()).add(each.href || each);
  }
  return Object.keys(targets).filter((name) => targets[name].size > 1 || !name.split(" ")[1]);
}"""
"""Names of controls that say nothing, or the same of different ones."""

FOCUSED = """() => {
  const all = [...document.querySelectorAll("a, button, input, select, textarea, summary, [tabindex]")];
  const style = getComputedStyle(document.activeElement);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return [all.indexOf(document.activeElement), seen];
}"""
"""Place of what has the focus, and whether that is seen."""

REACHABLE = """() => {
  const all = [...document.querySelectorAll("a, button, input, select, textarea, summary, [tabindex]")];
  const reachable = (each) => each.type !== "hidden" && !each.disabled && each.checkVisibility();
  return all.flatMap((each, place) => reachable(each) ? [place] : []);
}"""

IN_DIALOG = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
"""Also while the frame of the browser has the focus: then the body has it."""

SHAPES = """() => [...document.querySelectorAll(".tabs .state")].map((each) => {
  const style = getComputedStyle(each, "::before");
  const ground = getComputedStyle(document.body).backgroundColor;
  return style.backgroundColor !== ground || parseFloat(style.borderTopWidth) > 0;
})"""
"""Whether the shape of each state is seen."""


def axe(page: Page, **options: Any) -> list[str]:
    """What axe-core finds."""
    found = Axe().run(page, options=options)
    assert found.response["passes"], page.url
    return [f"{page.url}: {found.generate_report()}"] if found.response["violations"] else []


def unusable(page: Page) -> list[str]:
    """What is wrong with the page that is open."""
    for summary in page.locator("summary:visible").all():
        summary.click()
    found = axe(page)
    found += [f"{page.url}: several are {name!r}" for name in page.evaluate(AMBIGUOUS)]
    for width in (PHONE, ENLARGED):
        page.set_viewport_size({"width": width, "height": 800})
        needed = page.evaluate("document.documentElement.scrollWidth")
        found += [f"{page.url}: needs {needed} of {width}"] if needed > width else []
    page.set_viewport_size({"width": 1280, "height": 800})
    return found


def test_every_page_is_usable(site: Site, store: Store) -> None:
    # The policy of the pages would refuse the script of the check, too.
    page = site.open(bypass_csp=True, viewport={"width": 1280, "height": 800})
    found: list[str] = []
    for path in EMPTY:
        page.goto(site.url + path)
        found += unusable(page)
    page.keyboard.press("?")
    found += unusable(page)
    store.one_of_each()
    store.enqueue("retry", queue="other")
    Schedules(store.broker).set("nightly", "@daily", Task("t"))
    Schedules(store.broker).set("weekly", "@weekly", Task("t"))
    page.goto(f"{site.url}/confirm/pause_queue?queue=mail")
    page.get_by_role("button", name="Pause").click()
    for path in FULL:
        page.goto(site.url + path)
        found += unusable(page)
        # What depends on the theme is the contrast of colours alone.
        page.emulate_media(color_scheme="dark")
        found += axe(page, runOnly=["color-contrast"])
        page.emulate_media(color_scheme="light")
    assert not found, "\n".join(found)


def test_everything_is_reached_and_done_by_keyboard(site: Site, store: Store) -> None:
    for name in ("a", "b"):
        store.archive(name)
    page = site.open("/queues/mail?state=archived")
    expected = page.evaluate(REACHABLE)
    reached = []
    for _ in expected:
        page.keyboard.press("Tab")
        place, seen = page.evaluate(FOCUSED)
        reached.append(place)
        assert seen, place
    assert reached == expected
    # A dialog keeps the focus until it is closed, and gives it back.
    opener = page.get_by_role("button", name="Keys")
    opener.press("Enter")
    for _ in range(4):
        page.keyboard.press("Tab")
        assert page.evaluate(IN_DIALOG)
    page.keyboard.press("Escape")
    expect(opener).to_be_focused()
    # The skip link is first, and leads past the navigation.
    page.reload()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('main') !== null")
    page.get_by_label("Select task b").focus()
    page.keyboard.press("Space")
    page.get_by_role("button", name="Delete the selected tasks").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Please confirm")).to_be_visible()
    page.keyboard.press("/")
    expect(page.get_by_label("Find a task by its id")).to_be_focused()
    page.keyboard.type("a/b")
    expect(page.get_by_label("Find a task by its id")).to_have_value("a/b")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Delete").press("Enter")
    expect(page.locator("main").get_by_role("status")).to_contain_text("Done: delete 1 archived task")
    assert [store.state(name) is None for name in ("a", "b")] == [False, True]


def test_colours_of_the_system_and_still_pages(site: Site, store: Store) -> None:
    store.one_of_each()
    page = site.open("/queues/mail?state=archived", forced_colors="active", reduced_motion="reduce")
    shapes = page.evaluate(SHAPES)
    assert len(shapes) == 7
    assert all(shapes)
    assert page.evaluate("document.getAnimations().length") == 0
    page.goto(site.url)
    expect(page.get_by_role("row", name=re.compile("^mail"))).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
