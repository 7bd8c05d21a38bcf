"""Every page and stream with hostile text in all that users name, and with names of a megabyte."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from asynq import Task
from asynq.scheduler.schedules import Schedules
from asynq.web import create_app
from asynq.web.pages.live_parts import LIVE_PAGES
from asynq_sqlite import MemoryBroker
from tests.web.events import Events
from tests.web.store import Store
from tests.web.test_pages import Parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from asynq import Broker
    from tests.web.conftest import Browser

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)>\"' onfocus=alert(1) autofocus x='"
    "{{7*191}}{% raw %}&lt;&#x3c;\u202e\u2066\x00\x1b[2J\x85\u2028\r\n\r\n"
    "event: evil\ndata: evil\n\n/../%2e%2e/~#?"
)
PAGES = ("/", "/servers", "/schedules", "/broker", "/activity", "/broker/doctor", "/schedules/edit")


@pytest.fixture
def broker() -> Iterator[Broker]:
    made = MemoryBroker()
    yield made
    made.close()


def fill(broker: Broker, text: str) -> None:
    """Tasks of most states, and a schedule, with this text for all that can be named."""
    store = Store(broker)
    store.archive(f"{text}1", queue=text, error=text, payload=text)
    store.enqueue(f"{text}2", queue=text, group=text)
    task = Task(text, text, headers={text: text})
    store.client.enqueue(task, queue=text, task_id=text)
    Schedules(broker).set(text, "@daily", Task(text, text), queue=text)


def crawl(browser: Browser, starts: Any) -> dict[str, str]:
    """All pages that links lead to, by their addresses."""
    found: dict[str, str] = {}
    waiting = list(starts)
    while waiting and len(found) < 300:
        path = waiting.pop()
        if path in found:
            continue
        answer = browser.get(path)
        assert answer.status_code in (200, 404), (path[:100], answer.status_code, answer.text)
        found[path] = answer.text
        if "text/html" in answer.headers["Content-Type"] and "/confirm/" not in path:
            waiting += [link for link in Parsed(answer.text).links if link.startswith("/")]
    return found


def test_nothing_that_users_name_is_markup(browse: Callable[..., Browser], broker: Broker) -> None:
    fill(broker, HOSTILE)
    browser = browse()
    form = {"name": HOSTILE, "csrf_token": browser.token(), "next": f"/{HOSTILE}"}
    for action in ("pause_schedule", "resume_schedule", "run_schedule"):
        told = browser.post(f"/do/{action}", data=form)
        assert told.status_code == 200
    pages = crawl(browser, [*PAGES, f"/search?id={'%3Cscript%3E'}"])
    assert {name for name in PAGES if name not in pages} == set()
    assert len([page for page in pages.values() if "&lt;script&gt;alert(1)" in page]) > 20
    for path, page in pages.items():
        if page.startswith("{"):
            continue
        assert "<script>alert" not in page, path
        assert "<img src=x" not in page, path
        assert not Parsed(page).inline, path
        assert "1337" not in page, path


async def test_nothing_that_users_name_is_an_event(broker: Broker) -> None:
    fill(broker, HOSTILE)
    app = create_app(broker)
    asked = {
        "overview": {},
        "queue": {"queue": HOSTILE, "state": "pending"},
        "task": {"queue": HOSTILE, "task_id": HOSTILE},
        "schedules": {},
    }
    assert asked.keys() <= LIVE_PAGES.keys()
    for page, query in asked.items():
        stream = Events(app, f"/live/{page}", query)
        missing, shown = {part.block for part in LIVE_PAGES[page].parts}, ""
        while missing:
            event = await stream.next()
            assert event["event"] in {*missing, "trouble"}
            assert event.keys() == {"id", "event", "data"}
            assert re.fullmatch(r"[\w,-]+", event["id"])
            missing.discard(event["event"])
            shown += event["data"]
        await stream.aclose()
        assert "<script>alert" not in shown
        assert "&lt;script&gt;alert" in shown
        assert not Parsed(shown).inline


def test_a_header_takes_no_line_of_a_name(browse: Callable[..., Browser], broker: Broker) -> None:
    Store(broker).enqueue("a")
    browser = browse()
    for given in (HOSTILE, f"/{HOSTILE}", "/a\r\nX-Evil: 1", "/%0d%0aX-Evil:%201", "/\u2028", "/\x85"):
        form = {"queue": "mail", "csrf_token": browser.token(), "next": given}
        answer = browser.post("/do/pause_queue", data=form, follow_redirects=False)
        assert answer.status_code == 303
        assert "X-Evil" not in answer.headers
        assert re.fullmatch(r"/(?!/)[!-~]*", answer.headers["Location"])


def test_long_names_make_no_long_pages(browse: Callable[..., Browser], broker: Broker) -> None:
    long = "\u20ac" * 200_000
    fill(broker, long)
    store = Store(broker)
    for number in range(4):
        store.archive(f"{number}{long}", queue="mail", error=long)
    browser = browse()
    paths = [*PAGES, "/too-long", "/queues/mail", "/queues/mail/errors", "/queues/mail?state=archived"]
    pages = {path: browser.get(path) for path in paths}
    assert {path: len(page.text) for path, page in pages.items() if len(page.text) > 500_000} == {}
    assert {path for path, page in pages.items() if page.status_code != 200} == {"/too-long"}
    assert 'href="/too-long"' in pages["/"].text
    assert 'name="task_ids"' not in pages["/queues/mail?state=archived"].text, "it would name another task"
