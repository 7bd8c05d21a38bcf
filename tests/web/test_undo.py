"""Changes are undone: what is remembered of them, and what becomes of tasks that went on meanwhile."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from asynq import MemoryBroker, TaskState
from asynq.protocol.ops import ArchiveTask
from asynq.web import archive
from asynq.web.audit import AuditLog, Outcome
from asynq.web.undo import TaskUndo, Undone
from tests.web.store import Store
from tests.web.test_pages import Parsed, text_of, visit

if TYPE_CHECKING:
    from tests.web.conftest import Browser


def last_action(browser: Browser) -> Any:
    return browser.get("/api/audit").json()["actions"][0]


def test_undo(browser: Browser, store: Store) -> None:
    def undo() -> int:
        action = last_action(browser)
        status: int = browser.change("POST", f"/api/audit/{action['id']}:undo").status_code
        return status

    store.one_of_each()
    browser.change("POST", "/api/queues/mail:pause")
    assert undo() == 204
    assert not store.inspector.queue_info("mail").paused
    browser.change("POST", "/api/queues/mail/pending_tasks/pending:archive")
    assert undo() == 204
    assert store.state("pending") is TaskState.PENDING
    browser.change("POST", "/api/queues/mail/archived_tasks:batch_run", json={"task_ids": ["archived"]})
    assert undo() == 204
    assert store.state("archived") is TaskState.ARCHIVED
    before = store.inspector.task("mail", "scheduled")
    given = {"payload": "x", "process_in": "9h"}
    browser.change("POST", "/api/queues/mail/tasks/scheduled:change", json=given)
    assert undo() == 204
    assert store.inspector.task("mail", "scheduled") == before
    assert undo() == 409, "once"
    browser.change("DELETE", "/api/queues/mail/archived_tasks/archived")
    assert undo() == 409, "what is deleted is gone"
    assert browser.change("POST", "/api/audit/999:undo").status_code == 404


def test_what_went_on_meanwhile_is_not_undone(browser: Browser, store: Store) -> None:
    def undo() -> tuple[int, str]:
        assert last_action(browser)["can_be_undone"]
        assert browser.change("POST", f"/api/audit/{last_action(browser)['id']}:undo").status_code == 204
        return last_action(browser)["changed"], last_action(browser)["remark"]

    tasks = "/api/queues/mail/{}_tasks:{}_all"
    for name in ("a", "b", "c", "d"):
        store.enqueue(name)
    browser.change("POST", tasks.format("pending", "archive"), json={"type": "t:[abc]"})
    store.inspector.delete_task("mail", "a")
    store.inspector.run_task("mail", "b")
    gone = "1 are gone: deleted, or run, or trimmed by the archive, which keeps 10,000"
    assert undo() == (1, f"1 went on meanwhile and stay where they are; {gone}")
    assert [store.state(name) for name in "abcd"] == [None, *[TaskState.PENDING] * 3]

    browser.change("POST", tasks.format("pending", "archive"), json={})
    browser.change("POST", tasks.format("archived", "run"), json={})
    store.inspector.delete_task("mail", "b")
    assert undo() == (2, "1 went on meanwhile and stay where they are")
    assert [store.state(name) for name in "cd"] == [TaskState.ARCHIVED] * 2

    browser.change("POST", tasks.format("archived", "run"), json={})
    store.take()  # it fails again, and is in the same state as after an undo
    store.inspector.delete_task("mail", "d")
    assert undo()[0] == 0


def test_one_task_that_went_on_meanwhile_is_not_changed_by_an_undo(browser: Browser, store: Store) -> None:
    def undo() -> tuple[int, str]:
        assert browser.change("POST", f"/api/audit/{last_action(browser)['id']}:undo").status_code == 204
        return last_action(browser)["changed"], last_action(browser)["end"]

    store.enqueue("a")
    browser.change("POST", "/api/queues/mail/pending_tasks/a:archive")
    store.inspector.run_task("mail", "a")
    store.take()
    assert undo() == (0, "unchanged")
    assert store.state("a") is TaskState.ACTIVE
    # Whatever state the address names, it is not archived: an undo must not archive it.
    store.enqueue("c", process_in=timedelta(hours=1))
    browser.change("POST", "/api/queues/mail/archived_tasks/c:run")
    assert not last_action(browser)["can_be_undone"]
    store.enqueue("b", process_in=timedelta(hours=1))
    before = store.inspector.task("mail", "b").payload
    for meanwhile, expected, left in ((None, (1, "done"), before), (b"theirs", (0, "unchanged"), b"theirs")):
        browser.change("POST", "/api/queues/mail/tasks/b:change", json={"payload": "mine"})
        if meanwhile:
            store.inspector.update_payload("mail", "b", meanwhile)
        assert undo() == expected
        assert store.inspector.task("mail", "b").payload == left


def test_the_confirmation_of_an_undo_says_what_and_how_much(browser: Browser, store: Store) -> None:
    for name in ("a", "b", "c"):
        store.enqueue(name)
    browser.change("POST", "/api/queues/mail/pending_tasks:archive_all", json={})
    store.inspector.run_task("mail", "b")
    address = f"/confirm/undo_action?action_id={last_action(browser)['id']}"
    page = text_of(visit(browser, address))
    assert "Undo: archive all pending tasks of queue 'mail'" in page
    assert "It changed 3 tasks. 2 can still be put back. The others went on meanwhile" in page
    for name in ("a", "c"):
        store.inspector.run_task("mail", name)
    form = Parsed(visit(browser, address))
    told = browser.post(form.action, data=form.fields).text
    assert "Nothing could be put back: 3 went on meanwhile and stay where they are." in text_of(told)
    assert 'class="notice caution"' in told
    visit(browser, address, 409)


def test_a_due_time_that_was_changed_again_is_not_undone(browser: Browser, store: Store) -> None:
    for name in ("a", "b"):
        store.enqueue(name, process_in=timedelta(hours=1))
    before = store.inspector.task("mail", "a")
    for path, given in (
        ("reschedule_all", {"process_in": "2h"}),
        ("batch_reschedule", {"process_at": "2100-01-01T00:00:00.5Z", "task_ids": ["a", "b"]}),
    ):
        browser.change("POST", f"/api/queues/mail/scheduled_tasks:{path}", json=given)
        assert last_action(browser)["changed"] == 2
        store.inspector.reschedule("mail", "b", process_in=timedelta(hours=3))
        assert store.inspector.task("mail", "a") != before
        assert browser.change("POST", f"/api/audit/{last_action(browser)['id']}:undo").status_code == 204
        assert last_action(browser)["changed"] == 1
        assert store.inspector.task("mail", "a") == before


def test_what_cannot_be_put_back_is_not_offered(browser: Browser, store: Store) -> None:
    store.enqueue("a", process_in=timedelta(hours=1))
    # It is not archived, whatever is asked: an undo must not archive it.
    browser.change("POST", "/api/queues/mail/archived_tasks:batch_run", json={"task_ids": ["a"]})
    assert (last_action(browser)["changed"], last_action(browser)["can_be_undone"]) == (1, False)


def test_an_undo_archives_only_what_the_archive_has_room_for(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ARCHIVED", 3)
    for name in ("a", "b", "c"):
        store.archive(name)
    browser.change("POST", "/api/queues/mail/archived_tasks:run_all", json={})
    run = last_action(browser)["id"]
    asked = f"/confirm/undo_action?action_id={run}"
    assert "room" not in browser.get(asked).text
    store.enqueue("d")
    store.inspector.archive_task("mail", "d")
    said = "The archive keeps 3 tasks and has room for 2 of these 3: no more are put back."
    assert said in browser.get(asked).text
    assert browser.change("POST", f"/api/audit/{run}:undo").status_code == 204
    assert last_action(browser)["changed"] == 2
    assert last_action(browser)["remark"] == "1 stay pending: the archive keeps 3 tasks and is full"
    states = [store.state(name) for name in "abcd"]
    assert (states.count(TaskState.ARCHIVED), states.count(TaskState.PENDING)) == (3, 1)
    assert states[-1] is TaskState.ARCHIVED


def test_the_confirmation_says_what_archiving_deletes(
    browser: Browser, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_ARCHIVED", 3)
    store.archive("old")
    for name in ("a", "b"):
        store.enqueue(name)
    asked = (
        "archive_all_tasks?queue=mail&state=pending",
        "batch_archive?queue=mail&state=pending&task_ids=a&task_ids=b",
        "archive_task?queue=mail&state=pending&task_id=a",
    )
    assert not any("An archive keeps" in browser.get(f"/confirm/{each}").text for each in asked)
    store.archive("older")
    store.archive("oldest")
    for each, number in zip(asked, (2, 2, 1), strict=True):
        said = f"An archive keeps 3 tasks: the {number} oldest will be deleted."
        assert said in browser.get(f"/confirm/{each}").text


@pytest.mark.parametrize(("limit", "gone"), [(2, 0), (3, 1)])
def test_what_the_archive_keeps_is_put_back(limit: int, gone: int) -> None:
    broker = MemoryBroker()
    store = Store(broker)
    store.enqueue_many(3)
    undo = TaskUndo(broker, limit)
    for name in "012":
        undo.moved(store.inspector.task("mail", name), TaskState.ARCHIVED)
        broker.execute(ArchiveTask(queue="mail", task_id=name, max_size=2))
    assert asyncio.run(undo()) == Undone(changed=2, gone=gone)
    assert [store.state(name) for name in "012"] == [None, *[TaskState.PENDING] * 2]
    broker.close()


def outcome(undo: TaskUndo, changed: int = 1) -> Outcome:
    made = Outcome("local", "run_all_tasks", "run", changed=changed)
    made.undone_by(undo)
    return made


def undo_of(count: int, limit: int) -> TaskUndo:
    """The undo of running so many archived tasks."""
    broker = MemoryBroker()
    store = Store(broker)
    undo = TaskUndo(broker, limit)
    task = store.inspector.task("mail", store.archive("a"))
    for _ in range(count):
        undo.moved(task, TaskState.PENDING)
    broker.close()
    return undo


def test_only_the_last_tasks_are_remembered_and_that_is_said() -> None:
    assert outcome(undo_of(3, limit=3)).remark == ""
    assert outcome(undo_of(5, limit=3)).remark == "only the last 3 of these can be undone"


def test_an_action_that_was_broken_off_can_be_undone_as_far_as_it_went() -> None:
    audit = AuditLog(10, lambda: datetime.now(UTC))
    audit.failed(outcome(undo_of(1, limit=3)), RuntimeError())
    audit.failed(outcome(undo_of(1, limit=3), changed=0), RuntimeError())
    assert [entry.outcome.undo is not None for entry in audit] == [False, True]


def test_the_oldest_undos_are_forgotten_when_all_together_are_too_large() -> None:
    audit = AuditLog(100, lambda: datetime.now(UTC))
    large = undo_of(20_000, limit=20_000)
    for _ in range(4):
        audit.ended(outcome(large))
    assert [entry.outcome.undo is not None for entry in audit] == [True, True, False, False]
