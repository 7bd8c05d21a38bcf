"""Forms of the pages: what they keep, what they refuse, and what they say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asynq import Task
from asynq.protocol.ops import Archive
from asynq.scheduler.schedules import Schedules
from asynq.task_state import TaskState
from tests.web.test_pages import Parsed, confirm, text_of, visit

if TYPE_CHECKING:
    from tests.web.conftest import Browser
    from tests.web.store import Store


def send(browser: Browser, path: str, status: int = 200, **fields: str) -> str:
    """Fill in the form of a page, and send it."""
    form = Parsed(visit(browser, path))
    given = dict.fromkeys(("payload",), "") | form.fields | fields
    answer = browser.post(form.action, data=given, headers={"Referer": f"http://localhost{path}"})
    assert answer.status_code == status, answer.text
    text: str = answer.text
    return text


def test_a_schedule_keeps_what_its_form_does_not_show(browser: Browser, store: Store) -> None:
    schedules = Schedules(store.broker)
    task = Task("report", b"\xff\x00")
    schedules.set("nightly", "@daily", task, queue="low", max_retry=3, unique=timedelta(hours=1))
    send(browser, "/schedules/edit?name=nightly", spec="@hourly")
    enqueued = schedules.run("nightly")
    assert (schedules.get("nightly").spec, enqueued.queue, enqueued.max_retry) == ("@hourly", "low", 3)
    assert enqueued.payload == b"\xff\x00"
    send(browser, "/schedules/edit?name=nightly", payload="new", max_retry="4")
    assert schedules.get("nightly").payload == b"new"
    # It is shown now, so that who empties it wants it empty.
    send(browser, "/schedules/edit?name=nightly", payload="")
    assert schedules.get("nightly").payload == b""


def test_a_schedule_that_others_added_or_deleted_is_not_replaced(browser: Browser, store: Store) -> None:
    schedules = Schedules(store.broker)
    schedules.set("nightly", "@daily", Task("report"))
    fields = {"name": "nightly", "spec": "@hourly", "task_type": "t"}
    told = send(browser, "/schedules/edit", 409, **fields)
    assert "There is a schedule 'nightly' already." in text_of(told)
    assert 'href="/schedules/edit">Back</a>' in told
    form = Parsed(visit(browser, "/schedules/edit?name=nightly"))
    schedules.remove("nightly")
    assert browser.post(form.action, data=form.fields).status_code == 404
    assert not schedules.list()


def test_a_payload_that_browsers_would_change_is_kept(browser: Browser, store: Store) -> None:
    for number, payload in enumerate((b"a\rb", b"a\r\nb", b"\0", b"\xff", b"x" * 70_000)):
        name = str(number)
        store.enqueue(name, payload=payload, process_in=timedelta(hours=1))
        assert send(browser, f"/queues/mail/tasks/{name}/edit", 400)
        assert store.inspector.task("mail", name).payload == payload
        send(browser, f"/queues/mail/tasks/{name}/edit", payload="new")
        assert store.inspector.task("mail", name).payload == b"new"


def test_a_new_time_brings_back_no_payload(browser: Browser, store: Store) -> None:
    store.enqueue("a", payload="old", process_in=timedelta(hours=1))
    page = visit(browser, "/queues/mail/tasks/a/edit")
    form = Parsed(page[page.rindex("<form class=") :])
    store.inspector.update_payload("mail", "a", "new")
    assert browser.post(form.action, data={**form.fields, "process_in": "2h"}).status_code == 200
    assert store.inspector.task("mail", "a").payload == b"new"


def test_what_is_filled_in_wrongly_is_told_on_a_page(browser: Browser, store: Store) -> None:
    store.enqueue("a", process_in=timedelta(hours=1))
    page = "/confirm/reschedule_all_tasks?queue=mail&state=scheduled"
    told = send(browser, page, 400, process_in="soon")
    assert "soon" in text_of(told)
    assert f'href="{page.replace("&", "&amp;")}">Back</a>' in told
    for path in ("/queues/mail?older_than=soon", "/queues/mail?state=pending&offset=x"):
        assert "This did not work" in visit(browser, path, 400)


def test_what_was_not_changed_of_a_selection_is_told(browser: Browser, store: Store) -> None:
    for name in ("a", "b"):
        store.enqueue(name, process_in=timedelta(hours=1))
    query = "queue=mail&state=scheduled&task_ids=a&task_ids=b&next=/queues/mail"
    form = Parsed(visit(browser, f"/confirm/batch_reschedule?{query}"))
    store.inspector.delete_task("mail", "b")
    fields: dict[str, Any] = {**form.fields, "process_in": "2h"}
    told = text_of(browser.post(form.action, data=fields).text)
    assert "Done: reschedule 2 scheduled tasks of queue 'mail': due in 2h (1 task). 1 not changed:" in told
    due = store.inspector.task("mail", "a").next_process_at
    assert due is not None
    assert due > datetime.now(UTC) + timedelta(minutes=90)


def test_a_task_that_ended_meanwhile_is_no_failure(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    taken = store.take()
    page = visit(browser, "/queues/mail/tasks/a")
    store.broker.execute(Archive(delivery=taken, error="boom"))
    told = text_of(confirm(browser, page, "Cancel"))
    assert "(0 tasks). Its run had ended before." in told
    gone = visit(browser, "/queues/mail/tasks/b", 404)
    assert "Nothing is here" in gone
    assert "Tasks without a retention are deleted" in gone
    assert 'href="/queues/mail">Queue mail</a>' in gone


def test_groups_are_changed(browser: Browser, store: Store) -> None:
    for number, label in enumerate(("Run", "Archive", "Delete")):
        store.enqueue(f"{number}", group="g")
        confirm(browser, visit(browser, "/queues/mail?state=aggregating"), label)
    assert [store.state(f"{number}") for number in range(3)] == [TaskState.PENDING, TaskState.ARCHIVED, None]
