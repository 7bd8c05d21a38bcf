"""Changes are undone: what is remembered of them, and what becomes of tasks that went on meanwhile."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from asynq import MemoryBroker, TaskState
from asynq.web.audit import AuditLog, Outcome
from asynq.web.undo import TaskUndo
from tests.web.store import Store

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
    assert undo() == (1, "2 went on meanwhile and stay where they are")
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


def test_only_the_first_tasks_are_remembered_and_that_is_said() -> None:
    assert outcome(undo_of(3, limit=3)).remark == ""
    assert outcome(undo_of(5, limit=3)).remark == "only the first 3 of these can be undone"


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
