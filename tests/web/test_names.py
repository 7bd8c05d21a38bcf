"""Hostile names of queues, tasks and groups, in paths and on pages."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from asynq.task_state import TaskState
from asynq.web.names import decode_name, encode_name

if TYPE_CHECKING:
    from tests.web.conftest import Browser
    from tests.web.store import Store

HOSTILE = [
    "a/b",
    "..",
    ".",
    "~x",
    "%2e%2e",
    "a%2Fb",
    "a:pause",
    "a?b#c",
    "<script>alert(1)</script>",
    "\"' onmouseover=alert(1) x='",
    "line\r\nSet-Cookie: x=1",
    "{{1234*1001}}{% raw %}",
    "日本語 €",
    "\u202egnirts",
    "\x00\x1b[2J",
    " a ",
    "a\\b",
    "javascript:alert(1)",
    "x" * 500,
]


@given(st.text(st.characters(exclude_categories=["Cs"])))
@example("")
@example("..")
@example("~")
def test_a_name_is_one_segment_of_a_path(name: str) -> None:
    segment = encode_name(name)
    assert decode_name(unquote(segment)) == name
    assert segment not in ("", ".", "..")
    assert set(segment) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~:@+%-")
    assert "%2" not in segment.replace("%20", ""), "nothing that a proxy may decode into a separator"


@pytest.mark.parametrize("segment", ["~!", "~/w", "~a", "~gA"])
def test_a_segment_that_stands_for_no_name(segment: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        decode_name(segment)


@pytest.mark.parametrize("name", HOSTILE)
def test_the_api_finds_what_has_a_hostile_name(browser: Browser, store: Store, name: str) -> None:
    store.archive(name, queue=name, error=name, payload=name)
    store.enqueue(f"{name}2", queue=name, group=name)
    path = f"/api/queues/{encode_name(name)}"
    assert browser.get(path).json()["current"]["queue"] == name
    [task] = browser.get(f"{path}/archived_tasks").json()["tasks"]
    assert (task["id"], task["queue"]) == (name, name)
    assert browser.get(f"{path}/tasks/{encode_name(name)}").json()["id"] == name
    [group] = browser.get(f"{path}/groups").json()["groups"]
    assert group["group"] == name
    listed = browser.get(f"{path}/groups/{encode_name(name)}/aggregating_tasks").json()
    assert len(listed["tasks"]) == 1
    assert browser.change("POST", f"{path}:pause").status_code == 204
    assert browser.change("POST", f"{path}/archived_tasks/{encode_name(name)}:run").status_code == 204
    assert store.state(name, queue=name) is TaskState.PENDING


@pytest.mark.parametrize("name", HOSTILE)
def test_pages_show_hostile_names_as_text(browser: Browser, store: Store, name: str) -> None:
    store.enqueue("a", queue=name)
    pages = [
        browser.get("/"),
        browser.get("/confirm/pause_queue", params={"queue": name, "next": name}),
        browser.post("/do/pause_queue", data={"queue": name, "csrf_token": browser.token(), "next": name}),
    ]
    for page in pages:
        assert page.status_code == 200
        assert "<script>alert" not in page.text
        assert "onmouseover=alert(1) x='" not in page.text.replace("&#39;", "")
        assert 'href="javascript:' not in page.text
        assert "1235234" not in page.text
        assert "x" not in [cookie.name for cookie in browser.cookies.jar]
    assert store.inspector.queue_info(name).paused


@pytest.mark.parametrize(
    "next_page",
    ["//evil.example", "https://evil.example", "/\\evil.example", "\\\\evil", "/a\nb", "evil", ""],
)
def test_a_form_leads_to_our_own_pages_only(browser: Browser, store: Store, next_page: str) -> None:
    store.enqueue("a")
    form = {"queue": "mail", "csrf_token": browser.token(), "next": next_page}
    answer = browser.post("/do/pause_queue", data=form, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/?done=1")
