"""Each path of the API that changes something, on each kind of broker."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

import asynq
from asynq.task_state import TaskState
from tests.waiting import eventually
from tests.web.store import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.web.conftest import Browser
    from tests.web.store import Store


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def last_action(browser: Browser) -> Any:
    return browser.get("/api/audit").json()["actions"][0]


def test_pause_and_resume(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    assert browser.change("POST", "/api/queues/mail:pause").status_code == 204
    assert store.inspector.queue_info("mail").paused
    assert browser.change("POST", "/api/queues/mail:resume").status_code == 204
    assert not store.inspector.queue_info("mail").paused


@pytest.mark.parametrize("state", ["scheduled", "retry", "archived", "completed", "aggregating"])
def test_run(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    assert browser.change("POST", f"/api/queues/mail/{state}_tasks/{state}:run").status_code == 204
    assert store.state(state) is TaskState.PENDING
    assert last_action(browser)["changed"] == 1


@pytest.mark.parametrize("state", ["pending", "active"])
def test_a_task_that_cannot_be_run(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    answer = browser.change("POST", f"/api/queues/mail/{state}_tasks/{state}:run")
    assert code(answer) == (409, "task_state")
    assert answer.json()["error"]["facts"]["state"] == state
    assert "cannot run" in last_action(browser)["error"]


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "completed", "aggregating"])
def test_archive(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    assert browser.change("POST", f"/api/queues/mail/{state}_tasks/{state}:archive").status_code == 204
    assert store.state(state) is TaskState.ARCHIVED


@pytest.mark.parametrize("state", ["pending", "scheduled", "retry", "archived", "completed", "aggregating"])
def test_delete(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    assert browser.change("DELETE", f"/api/queues/mail/{state}_tasks/{state}").status_code == 204
    assert store.state(state) is None
    assert code(browser.change("DELETE", f"/api/queues/mail/{state}_tasks/{state}")) == (
        404,
        "task_not_found",
    )


def test_cancel(browser: Browser, store: Store) -> None:
    store.one_of_each()
    path = "/api/queues/mail/active_tasks/{}:cancel"
    assert browser.change("POST", path.format("active")).json() == {"cancelled": True}
    assert browser.change("POST", path.format("pending"), json={"then": "retry"}).json() == {
        "cancelled": False
    }
    assert code(browser.change("POST", path.format("active"), json={"then": "x"})) == (400, "invalid_request")


def test_change(browser: Browser, store: Store) -> None:
    store.one_of_each()
    path = "/api/queues/mail/tasks/{}:change"
    due = datetime(2040, 1, 1, tzinfo=UTC)
    given: dict[str, Any] = {"payload": "new", "process_at": due.isoformat()}
    assert browser.change("POST", path.format("scheduled"), json=given).status_code == 204
    task = store.inspector.task("mail", "scheduled")
    assert (task.payload, task.next_process_at) == (b"new", due)
    given = {"payload": "/wA=", "payload_encoding": "base64", "run": True}
    assert browser.change("POST", path.format("archived"), json=given).status_code == 204
    task = store.inspector.task("mail", "archived")
    assert (task.payload, task.state) == (b"\xff\x00", TaskState.PENDING)
    assert browser.change("POST", path.format("retry"), json={"process_in": "2h"}).status_code == 204


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"payload": "!", "payload_encoding": "base64"},
        {"process_in": "soon"},
        {"process_in": "1h", "process_at": "2040-01-01T00:00:00Z"},
        {"process_at": "2040-01-01T00:00:00"},
        {"payload": 1},
        {"other": 1},
        [],
    ],
)
def test_a_change_without_a_meaning(browser: Browser, store: Store, given: Any) -> None:
    store.enqueue("a", process_in=timedelta(hours=1))
    before = store.inspector.task("mail", "a")
    assert code(browser.change("POST", "/api/queues/mail/tasks/a:change", json=given)) == (
        400,
        "invalid_request",
    )
    assert store.inspector.task("mail", "a") == before


def test_a_body_that_is_not_json(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    for kind, status in (("text/plain", 415), ("application/json", 400)):
        answer = browser.change(
            "POST", "/api/queues/mail/tasks/a:change", content=b"{", headers={"Content-Type": kind}
        )
        assert answer.status_code == status


@pytest.mark.parametrize(
    ("verb", "members", "state"),
    [
        ("batch_run", ("pending_ids", "error_ids"), TaskState.PENDING),
        ("batch_archive", ("archived_ids", "error_ids"), TaskState.ARCHIVED),
        ("batch_delete", ("deleted_ids", "failed_ids"), None),
    ],
)
def test_batches(
    browser: Browser, store: Store, verb: str, members: tuple[str, str], state: TaskState | None
) -> None:
    store.one_of_each()
    given = {"task_ids": ["scheduled", "nope", "retry"]}
    answer = browser.change("POST", f"/api/queues/mail/scheduled_tasks:{verb}", json=given).json()
    assert [answer[member] for member in members] == [["scheduled", "retry"], ["nope"]]
    assert "no task 'nope'" in answer["errors"]["nope"]
    assert store.state("scheduled") is store.state("retry") is state
    assert last_action(browser)["changed"] == 2


def test_batch_cancel(browser: Browser, store: Store) -> None:
    store.one_of_each()
    given = {"task_ids": ["active", "pending"]}
    answer = browser.change("POST", "/api/queues/mail/active_tasks:batch_cancel", json=given).json()
    assert (answer["canceled_ids"], answer["error_ids"]) == (["active"], ["pending"])


@pytest.mark.parametrize("task_ids", [[], ["x"] * 1001, [1], "x"])
def test_a_batch_has_1_to_1000_ids(browser: Browser, store: Store, task_ids: Any) -> None:
    store.enqueue("a")
    answer = browser.change("POST", "/api/queues/mail/pending_tasks:batch_run", json={"task_ids": task_ids})
    assert code(answer) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("verb", "member", "state"),
    [
        ("run_all", "scheduled", TaskState.PENDING),
        ("archive_all", "archived", TaskState.ARCHIVED),
        ("delete_all", "deleted", None),
    ],
)
def test_all_that_a_filter_selects(
    browser: Browser, store: Store, verb: str, member: str, state: TaskState | None
) -> None:
    method = "DELETE" if verb == "delete_all" else "POST"
    for task_id in ("a1", "a2", "b1"):
        store.enqueue(task_id, process_in=timedelta(hours=1))
    path = f"/api/queues/mail/scheduled_tasks:{verb}"
    given = {"params": {"type": "t:a*"}} if method == "DELETE" else {"json": {"type": "t:a*"}}
    answer = browser.change(method, path, **given)
    assert (answer.status_code, answer.json()[member], answer.json()["done"]) == (200, 2, True)
    assert [store.state(each) for each in ("a1", "a2", "b1")] == [state, state, TaskState.SCHEDULED]
    action = last_action(browser)
    assert action["changed"] == 2
    assert action["what"].endswith(
        "all scheduled tasks of queue 'mail' of type 't:a*'"
        + {
            "run_all": " now",
            "archive_all": ": they will not run unless they are run by hand",
            "delete_all": " for good",
        }[verb]
    )
    assert browser.change(method, path).json()[member] == 1


@pytest.mark.parametrize(("method", "verb"), [("POST", "run_all"), ("DELETE", "delete_all")])
def test_a_misspelt_filter_changes_nothing(browser: Browser, store: Store, method: str, verb: str) -> None:
    store.archive("a")
    given = {"params": {"tipe": "x"}} if method == "DELETE" else {"json": {"tipe": "x"}}
    answer = browser.change(method, f"/api/queues/mail/archived_tasks:{verb}", **given)
    assert code(answer) == (400, "invalid_request")
    assert store.state("a") is TaskState.ARCHIVED


def test_states_that_cannot_be_changed_so(browser: Browser, store: Store) -> None:
    store.one_of_each()
    for method, path in (
        ("POST", "active_tasks:run_all"),
        ("POST", "archived_tasks:archive_all"),
        ("DELETE", "active_tasks:delete_all"),
    ):
        assert code(browser.change(method, f"/api/queues/mail/{path}")) == (400, "invalid_request")
    given = {"process_in": "1h"}
    answer = browser.change("POST", "/api/queues/mail/archived_tasks:reschedule_all", json=given)
    assert code(answer) == (400, "invalid_request")
    assert code(browser.change("POST", "/api/queues/nope/archived_tasks:run_all")) == (404, "queue_not_found")


def test_cancel_all_and_reschedule_all(browser: Browser, store: Store) -> None:
    store.one_of_each()
    assert browser.change("POST", "/api/queues/mail/active_tasks:cancel_all").json()["changed"] == 1
    before = store.inspector.task("mail", "scheduled").next_process_at
    answer = browser.change(
        "POST", "/api/queues/mail/scheduled_tasks:reschedule_all", json={"process_in": "5h"}
    )
    assert answer.json()["changed"] == 1
    after = store.inspector.task("mail", "scheduled").next_process_at
    assert before is not None
    assert after is not None
    assert after > before + timedelta(hours=3)


def test_all_of_a_group(browser: Browser, store: Store) -> None:
    for n, verb in enumerate(("run_all", "archive_all", "delete_all")):
        store.enqueue(f"g{n}", group="g")
        store.enqueue(f"h{n}", group="h")
        method = "DELETE" if verb == "delete_all" else "POST"
        answer = browser.change(method, f"/api/queues/mail/groups/g/aggregating_tasks:{verb}")
        assert answer.json()["changed"] == 1, answer.text
    states = [store.state(f"g{n}") for n in range(3)]
    assert states == [TaskState.PENDING, TaskState.ARCHIVED, None]
    assert [store.state(f"h{n}") for n in range(3)] == [TaskState.AGGREGATING] * 3
    assert browser.change("POST", "/api/queues/mail/aggregating_tasks:run_all").json()["changed"] == 3


def test_purge_and_delete_a_queue(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    assert code(browser.change("DELETE", "/api/queues/mail")) == (409, "queue_not_empty")
    assert browser.change("POST", "/api/queues/mail:purge").json()["deleted"] == 1
    assert browser.change("DELETE", "/api/queues/mail").json()["deleted"] == 0
    assert browser.get("/api/queues").json()["queues"] == []
    store.enqueue("b")
    assert browser.change("DELETE", "/api/queues/mail?force=true").json()["deleted"] == 1
    for method, path in (("DELETE", "mail"), ("POST", "mail:purge")):
        assert code(browser.change(method, f"/api/queues/{path}")) == (404, "queue_not_found")


def test_schedules(browser: Browser, store: Store) -> None:
    given = {"spec": "@hourly", "task_type": "t", "payload": "p", "queue": "low", "timeout": "1m"}
    assert browser.change("PUT", "/api/schedules/a", json=given).status_code == 204
    assert browser.change("POST", "/api/schedules/a:pause").status_code == 204
    assert browser.get("/api/schedules/a").json()["paused"]
    assert browser.change("POST", "/api/schedules/a:resume").status_code == 204
    enqueued = browser.change("POST", "/api/schedules/a:run").json()
    task = store.inspector.task(enqueued["queue"], enqueued["task_id"])
    assert (task.type, task.payload, task.timeout) == ("t", b"p", timedelta(minutes=1))
    assert browser.change("DELETE", "/api/schedules/a").status_code == 204
    for method, path in (("DELETE", "a"), ("POST", "a:pause"), ("POST", "a:run")):
        assert code(browser.change(method, f"/api/schedules/{path}")) == (404, "entry_not_found")
    for wrong in ({"spec": "often"}, {"location": "Mars"}, {"timeout": "-1s"}, {"max_retry": -1}):
        answer = browser.change("PUT", "/api/schedules/a", json=given | wrong)
        assert answer.status_code == 400, wrong


def test_the_doctor_repairs(browser: Browser, store: Store) -> None:
    store.enqueue("a")
    assert browser.change("POST", "/api/doctor:repair").json()["changed"] == 0


def test_a_job_goes_on_after_its_answer(browse: Callable[..., Browser], store: Store) -> None:
    browser = browse(job_wait=0)
    for n in range(5):
        store.archive(f"{n}")
    answer = browser.change("DELETE", "/api/queues/mail/archived_tasks:delete_all")
    assert answer.status_code == 202
    assert answer.json()["deleted"] is None
    job_id = answer.json()["job"]["id"]

    def ended() -> bool:
        return bool(browser.get(f"/api/jobs/{job_id}").json()["state"] == "done")

    eventually(ended)
    [job] = browser.get("/api/jobs").json()["jobs"]
    assert (job["changed"], job["what"], job["user"]) == (
        5,
        "delete all archived tasks of queue 'mail' for good",
        "local",
    )
    assert last_action(browser)["changed"] == 5
    assert code(browser.get("/api/jobs/nope")) == (404, "job_not_found")
    assert browser.change("POST", f"/api/jobs/{job_id}:stop").json()["state"] == "done"


def test_the_audit_says_who_did_what(
    browser: Browser, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "asynq.audit")
    store.enqueue("a", queue="x\ny")
    assert browser.change("POST", "/api/queues/~eAp5:pause").status_code == 204
    action = last_action(browser)
    assert (action["user"], action["action"], action["error"]) == ("local", "pause_queue", "")
    [record] = [each for each in caplog.records if each.name == "asynq.audit"]
    line = record.getMessage()
    assert line.startswith("user='local' action=pause_queue what=")
    assert "\n" not in line


@pytest.mark.parametrize("state", STATES)
def test_a_copy_of_a_task(browser: Browser, store: Store, state: str) -> None:
    store.one_of_each()
    copy = browser.change("POST", f"/api/queues/mail/tasks/{state}:copy", json={"payload": "new"}).json()
    task = store.inspector.task("mail", copy["task_id"])
    assert (task.state, task.type, task.payload, task.retried) == (TaskState.PENDING, f"t:{state}", b"new", 0)
    assert store.state(state) is TaskState(state)
    browser.change("POST", f"/api/audit/{browser.get('/api/audit').json()['actions'][0]['id']}:undo")
    assert store.state(copy["task_id"]) is None


def test_a_copy_keeps_the_options(browser: Browser, store: Store) -> None:
    options: dict[str, Any] = {
        "max_retry": 3,
        "timeout": timedelta(minutes=2),
        "retention": timedelta(hours=5),
    }
    task = asynq.Task("t", b"\x00\xff", headers={"a": "b"})
    store.client.enqueue(task, task_id="a", queue="mail", group="g", unique=timedelta(hours=1), **options)
    copy = browser.change("POST", "/api/queues/mail/tasks/a:copy", json={}).json()
    made = store.inspector.task("mail", copy["task_id"])
    assert (made.payload, dict(made.headers), made.group) == (b"\x00\xff", {"a": "b"}, "g")
    assert {name: getattr(made, name) for name in options} == options
    assert code(browser.change("POST", "/api/queues/mail/tasks/nope:copy", json={})) == (
        404,
        "task_not_found",
    )
