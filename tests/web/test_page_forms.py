"""Forms of the pages: what they keep, what they refuse, and what they say of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import TYPE_CHECKING, Any

from asynq import Task
from asynq.protocol.ops import Archive
from asynq.scheduler.schedules import Schedules
from asynq.task_state import TaskState
from asynq.web import BasicAuthentication
from tests.web.test_pages import Parsed, confirm, text_of, visit

if TYPE_CHECKING:
    from tests.web.conftest import Browser
    from tests.web.store import Store


def send(browser: Browser, path: str, status: int = 200, /, **fields: str) -> str:
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
    assert all(f'value="{text}"' in told for text in fields.values())
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
    assert 'name="process_in" value="soon"' in told
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


def test_a_payload_that_was_json_stays_json_unless_one_insists(browser: Browser, store: Store) -> None:
    written = b'{"to":  "Ann","n":[1.10,"\xc3\xa9"]}'
    for name, payload in (("a", b'{"to":"Ann", "n":[1,"\xc3\xa9"]}'), ("b", written)):
        store.enqueue(name, payload=payload, process_in=timedelta(hours=1))
    path = "/queues/mail/tasks/a/edit"
    shown = visit(browser, path)
    assert "Payload (JSON)" in shown
    indented = unescape(
        shown.split('<textarea name="payload" spellcheck="false">\n')[1].split("</textarea>")[0]
    )
    assert indented == '{\n  "to": "Ann",\n  "n": [\n    1,\n    "é"\n  ]\n}'
    assert written.decode() in unescape(visit(browser, "/queues/mail/tasks/b/edit"))
    told = send(browser, path, 400, payload='{"to": "B\n"}', run="true")
    why = "The payload was JSON and is none any more: Invalid control character at line 1, column 10."
    assert why in text_of(told)
    assert "{&#34;to&#34;: &#34;B\n&#34;}</textarea>" in told
    assert 'name="run" value="true" checked' in told
    assert "Save it although it is no JSON" in text_of(told)
    assert "Nothing is to be changed" in send(browser, path, 400, payload=indented.replace("\n", "\r\n"))
    assert store.inspector.task("mail", "a").payload == b'{"to":"Ann", "n":[1,"\xc3\xa9"]}'
    send(browser, path, payload=indented, run="true")
    assert store.state("a") is TaskState.PENDING
    assert store.inspector.task("mail", "a").payload == b'{"to":"Ann", "n":[1,"\xc3\xa9"]}'
    send(browser, path, payload="{", no_json="yes")
    assert store.inspector.task("mail", "a").payload == b"{"


def test_a_form_that_is_refused_keeps_what_was_filled_in(browser: Browser, store: Store) -> None:
    fields = {"name": "nightly", "spec": "every day", "task_type": "report", "queue": "low", "timeout": "5m"}
    wrong = {"spec": "cron", "timeout": "duration", "location": "time zone", "max_retry": "int"}
    for name, why in wrong.items():
        filled_in = {**fields, "spec": "@daily", "payload": "<&", name: "wrong '>"}
        told = send(browser, "/schedules/edit", 400, **filled_in)
        assert why in text_of(told)
        kept = Parsed(told).fields
        assert {**kept, "payload": "<&"}.items() >= filled_in.items()
        assert "&lt;&amp;</textarea>" in told
    assert send(browser, "/schedules/edit", 200, **{**kept, "payload": "<&", "max_retry": "1"})
    store.enqueue("a", process_in=timedelta(hours=1))
    page = visit(browser, "/queues/mail/tasks/a/edit")
    form = Parsed(page[page.rindex("<form class=") :])
    refused = browser.post(form.action, data={**form.fields, "process_in": "soon"})
    assert (refused.status_code, Parsed(refused.text).fields["process_in"]) == (400, "soon")
    # What the form is about is gone: there is no form any more.
    store.inspector.delete_task("mail", "a")
    refused = browser.post(form.action, data={**form.fields, "process_in": "1h"})
    assert (refused.status_code, "Nothing is here" in refused.text) == (404, True)


def test_the_form_of_a_schedule_shows_what_is_kept(browser: Browser, store: Store) -> None:
    schedules = Schedules(store.broker)
    hour = timedelta(hours=1)
    schedules.set("nightly", "@daily", Task("report", "{ }"), max_retry=3, timeout=1.5 * hour, retention=hour)
    path = "/schedules/edit?name=nightly"
    form = Parsed(visit(browser, path)).fields
    assert [form[name] for name in ("max_retry", "timeout", "retention")] == ["3", "1h30m", "1h"]
    told = send(browser, path, spec="@hourly", timeout="", retention="", payload="{}")
    assert "Done: change schedule 'nightly': enqueue 'report' at '@hourly'." in text_of(told)
    kept = schedules.get("nightly")
    assert (kept.max_retry, kept.timeout, kept.retention) == (3, hour / 2, timedelta(0))


def test_a_confirmation_is_about_a_queue_that_exists(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    for action in ("purge_queue", "delete_queue"):
        assert "The queue holds 1 task." in text_of(visit(browser, f"/confirm/{action}?queue=mail"))
        assert "does not exist" in visit(browser, f"/confirm/{action}?queue=nosuch", 404)


def test_a_viewer_is_told_who_can_do_this(browse: Any, store: Store) -> None:
    store.enqueue("a")
    viewer = BasicAuthentication({"bob": ("secret", "viewer")})
    browser = browse(authentication=viewer)
    browser.auth = ("bob", "secret")
    for path in ("/schedules/edit", "/confirm/purge_queue?queue=mail", "/queues/mail/tasks/a/edit"):
        page = visit(browser, path)
        assert "bob may only read: operators can do this." in text_of(page)
        assert 'type="submit"' not in page


def test_half_a_pair_of_surrogates_is_shown_as_it_is_written(browser: Browser, store: Store) -> None:
    store.enqueue("a", payload=b'["\\ud800"]', process_in=timedelta(hours=1))
    for path in ("/queues/mail/tasks/a", "/queues/mail/tasks/a/edit"):
        assert '[\n  "\\ud800"\n]' in unescape(visit(browser, path))
