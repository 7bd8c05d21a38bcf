"""What an operator does, each way through the pages on a page that is open already.

Each journey uses names of its own. The worker serves the queue "mail", and nobody serves the others.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING

from attrs import frozen
from playwright.sync_api import expect

import asynq
from asynq.scheduler.schedules import Schedules
from asynq.task_state import TaskState
from tests.waiting import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

    from tests.browser.conftest import LiveWorker
    from tests.browser.underneath import Underneath
    from tests.web.store import Store

HOUR = timedelta(hours=1)


@frozen
class Operator:
    """Who uses the pages."""

    page: Page
    url: str
    store: Store
    worker: LiveWorker
    underneath: Underneath

    def go(self, path: str) -> None:
        """Open a page by its address."""
        self.page.goto(self.url + path)

    def link(self, name: str) -> Locator:
        """The link of this name."""
        return self.page.get_by_role("link", name=name, exact=True)

    def act(self, name: str, says: str, **choices: str) -> None:
        """Follow the link to an action, choose, and confirm it."""
        self.link(name).click()
        self.confirm(says, **choices)

    def act_on_selection(self, verb: str, says: str, *tasks: str, **choices: str) -> None:
        """Select tasks, and confirm what is to be done with them."""
        for task in tasks:
            self.page.get_by_label(f"Select task {task}").check()
        self.page.get_by_role("button", name=f"{verb} the selected tasks").click()
        self.confirm(says, **choices)

    def confirm(self, says: str, **choices: str) -> None:
        """Read what will happen, confirm it, and read that it happened."""
        page = self.page
        expect(page.get_by_role("heading", name="Please confirm")).to_be_visible()
        expect(page.locator("main form")).to_contain_text(says[:1].upper() + says[1:])
        for label, value in choices.items():
            field = page.get_by_label(label.replace("_", " "))
            if value == "checked":
                field.check()
            elif value == "retry":
                field.select_option(value)
            else:
                field.fill(value)
        page.locator("main button[type=submit]").click()
        self.told(says)

    def told(self, says: str) -> None:
        """Read what was done."""
        expect(self.page.locator("main").get_by_role("status")).to_contain_text(f"Done: {says}")

    def has(self, **states: TaskState | None) -> None:
        """Tasks of the queue that nobody serves are in these states."""
        for name, state in states.items():
            assert self.store.state(name.replace("_", "-"), queue="still") is state, name


def queues(operator: Operator) -> None:
    """The overview is live, is narrowed by name, and keeps the focus; queues are paused, purged, deleted."""
    page, store = operator.page, operator.store
    operator.go("/")
    expect(page.get_by_text("There is no queue yet.")).to_be_visible()
    store.client.enqueue(asynq.Task("wait"), task_id="long", queue="mail")
    row = page.get_by_role("row", name=re.compile("^mail"))
    expect(row.get_by_role("link", name="1 active in queue mail")).to_be_visible()
    store.enqueue("a", queue="other")
    page.get_by_label("Narrow the queues by name").fill("oth")
    expect(row).to_be_hidden()
    pause = operator.link("Pause queue other")
    pause.focus()
    # A later reading replaces the table: what is typed still holds, and the focus is where it was.
    store.enqueue("b", queue="other")
    expect(page.get_by_role("link", name="2 pending in queue other")).to_be_visible()
    expect(row).to_be_hidden()
    expect(pause).to_be_focused()
    page.keyboard.press("Enter")
    operator.confirm("pause queue 'other': no task of it starts until it is resumed")
    expect(page.get_by_role("row", name=re.compile("^other paused"))).to_be_visible()
    operator.link("Activity").click()
    page.get_by_role("link", name=re.compile("^Undo: pause queue 'other'")).click()
    operator.confirm("undo")
    assert not store.inspector.queue_info("other").paused
    operator.go("/queues/other")
    operator.act("Pause", "pause queue 'other'")
    operator.act("Resume", "resume queue 'other'")
    operator.act("Purge queue", "delete all tasks of queue 'other' that are not active, for good")
    assert store.inspector.queue_info("other").size == 0
    store.enqueue("c", queue="other")
    operator.act("Delete queue", "delete queue 'other'", with_all_tasks="checked")
    assert "other" not in store.inspector.queues()


def servers(operator: Operator) -> None:
    """What the worker does is seen, and its run is cancelled."""
    page, store = operator.page, operator.store
    eventually(lambda: any(server.workers for server in store.inspector.servers()))
    operator.link("Servers").click()
    operator.link("long").click()
    expect(page.get_by_text("has run it for")).to_be_visible()
    operator.act("Cancel", "cancel the run of task 'long'", Afterwards="retry")
    eventually(lambda: store.state("long") is TaskState.RETRY)


def one_task(operator: Operator) -> None:
    """A task that failed is found, edited, run and copied. Another is rescheduled, archived and deleted."""
    page, store = operator.page, operator.store
    store.client.enqueue(asynq.Task("fail", {"to": "Ann"}), task_id="bad", queue="mail", max_retry=0)
    eventually(lambda: store.state("bad") is TaskState.ARCHIVED)
    page.keyboard.press("/")
    page.keyboard.type("bad")
    page.keyboard.press("Enter")
    operator.link("bad of queue mail").click()
    expect(page.get_by_role("row", name=re.compile("archived ValueError: card declined"))).to_be_visible()
    operator.link("Edit…").click()
    page.get_by_label("Payload").fill('{\n  "to": "Bo"\n}')
    page.get_by_role("button", name="Change the task").click()
    operator.told("change task 'bad'")
    assert store.inspector.task("mail", "bad").payload == b'{\n  "to": "Bo"\n}'
    operator.act("Run now", "run task 'bad' of queue 'mail' now")
    eventually(lambda: store.inspector.queue_info("mail").failed >= 2)
    # The page has caught up with the run: its buttons move no more.
    expect(operator.link("Run now")).to_be_visible()
    operator.link("Enqueue a copy…").click()
    page.get_by_label("Payload").fill('{"to": "Cy"}')
    page.get_by_role("button", name="Enqueue the copy").click()
    operator.told("enqueue a copy of task 'bad'")
    eventually(lambda: store.inspector.queue_info("mail").archived == 2)
    store.client.enqueue(asynq.Task("fine"), task_id="later", queue="mail", process_in=HOUR)
    operator.go("/queues/mail/tasks/later/edit")
    page.get_by_label("Due in, from now").fill("3h")
    page.get_by_role("button", name="Reschedule").click()
    operator.told("change task 'later' of queue 'mail': due in 3h")
    expect(page.get_by_text(re.compile("It is due in (2h|3h)"))).to_be_visible()
    operator.act("Archive", "archive task 'later' of queue 'mail'")
    operator.act("Delete", "delete task 'later' of queue 'mail' for good")
    assert store.state("later") is None


def a_task_that_is_gone(operator: Operator) -> None:
    """A task that succeeds is deleted: the page after that says so, and is no failure."""
    page, store = operator.page, operator.store
    store.client.enqueue(asynq.Task("fine"), task_id="once", queue="mail", process_in=HOUR)
    operator.go("/queues/mail/tasks/once")
    operator.act("Run now", "run task 'once' of queue 'mail' now")
    eventually(lambda: store.state("once") is None)
    page.reload()
    expect(page.get_by_text("Tasks without a retention are deleted")).to_be_visible()
    operator.link("Queue mail").click()


def a_selection(operator: Operator) -> None:
    """Tasks that are selected are run, archived, rescheduled, deleted and cancelled."""
    page, store = operator.page, operator.store
    for name in ("a", "b", "c", "d"):
        store.enqueue(name, queue="still", process_in=HOUR)
    operator.go("/queues/still?state=scheduled")
    run = page.get_by_role("button", name="Run the selected tasks")
    expect(run).to_be_disabled()
    page.get_by_label("Select all tasks of this page").check()
    expect(page.get_by_text("4 selected")).to_be_visible()
    for name in ("b", "c", "d"):
        page.get_by_label(f"Select task {name}").uncheck()
    run.click()
    operator.confirm("run 1 scheduled task of queue 'still' now")
    operator.act_on_selection("Archive", "archive 1 scheduled task of queue 'still'", "b")
    operator.act_on_selection(
        "Reschedule", "reschedule 2 scheduled tasks of queue 'still': due in ", "c", "d", Due_in="2h"
    )
    operator.act_on_selection("Delete", "delete 1 scheduled task of queue 'still' for good", "d")
    operator.has(a=TaskState.PENDING, b=TaskState.ARCHIVED, c=TaskState.SCHEDULED, d=None)
    for name in ("run-1", "run-2"):
        store.client.enqueue(asynq.Task("wait"), task_id=name, queue="mail")
    eventually(lambda: store.inspector.queue_info("mail").active == 2)
    operator.go("/queues/mail?state=active")
    operator.act_on_selection("Cancel", "cancel 1 active task of queue 'mail'", "run-1")
    operator.act("Cancel all tasks", "cancel all active tasks of queue 'mail'")
    eventually(lambda: store.state("run-1") is TaskState.ARCHIVED is store.state("run-2"))


def all_that_match(operator: Operator) -> None:
    """Tasks that a filter selects are run, rescheduled, archived and deleted."""
    page, store = operator.page, operator.store
    store.inspector.delete_queue("still", force=True)
    for name in ("a", "b", "c", "d"):
        store.enqueue(name, queue="still", process_in=HOUR)

    def filtered(pattern: str) -> None:
        operator.go("/queues/still?state=scheduled")
        page.get_by_label(re.compile("^Type")).fill(pattern)
        page.get_by_role("button", name="Filter").click()

    filtered("t:[ab]")
    operator.act(
        "Reschedule all tasks that match",
        "reschedule all scheduled tasks of queue 'still' of type 't:[ab]': due in ",
        Due_in="2h",
    )
    filtered("t:a")
    operator.act("Run all tasks that match", "run all scheduled tasks of queue 'still' of type 't:a' now")
    filtered("t:b")
    operator.act("Archive all tasks that match", "archive all scheduled tasks of queue 'still' of type 't:b'")
    filtered("t:c")
    operator.act("Delete all tasks that match", "delete all scheduled tasks of queue 'still' of type 't:c'")
    operator.has(a=TaskState.PENDING, b=TaskState.ARCHIVED, c=None, d=TaskState.SCHEDULED)


def groups(operator: Operator) -> None:
    """Groups are run, archived and deleted as a whole."""
    for name in ("g1", "g2", "g3"):
        operator.store.enqueue(name, queue="still", group=name)
    operator.go("/queues/still?state=aggregating")
    operator.act("Run: group g1", "run all tasks of group 'g1' of queue 'still' now, each by itself")
    operator.act("Archive: group g2", "archive all tasks of group 'g2' of queue 'still'")
    operator.link("g3").click()
    expect(operator.page.get_by_text("all groups")).to_be_visible()
    operator.link("all groups").click()
    operator.act("Delete: group g3", "delete all tasks of group 'g3' of queue 'still' for good")
    operator.has(g1=TaskState.PENDING, g2=TaskState.ARCHIVED, g3=None)


def errors(operator: Operator) -> None:
    """Tasks that failed with one error are run together."""
    operator.go("/queues/mail?state=archived")
    operator.link("Group by error").click()
    operator.act("Run: ValueError: card declined", "run all archived tasks of queue 'mail' with error")


def schedules(operator: Operator) -> None:
    """A schedule is added, edited, run, paused, resumed and deleted."""
    page, kept = operator.page, Schedules(operator.store.broker)
    operator.link("Schedules").click()
    operator.link("Add a schedule").click()
    page.get_by_label("Name").fill("nightly")
    page.get_by_label("Spec").fill("@daily")
    page.get_by_label("Type of the task").fill("report")
    page.get_by_label("Queue").fill("still")
    page.get_by_label("Retries").fill("3")
    page.get_by_role("button", name="Save").click()
    operator.told("enqueue 'report' at '@daily', as schedule 'nightly'")
    operator.link("Edit… schedule nightly").click()
    page.get_by_label("Spec").fill("@hourly")
    page.get_by_role("button", name="Save").click()
    operator.act("Run now: schedule nightly", "enqueue the task of schedule 'nightly' now")
    [task] = [each for each in operator.store.inspector.tasks("still", "pending") if each.type == "report"]
    assert (task.max_retry, kept.get("nightly").spec) == (3, "@hourly")
    operator.act("Pause: schedule nightly", "pause schedule 'nightly'")
    operator.act("Resume: schedule nightly", "resume schedule 'nightly'")
    operator.link("nightly").click()
    expect(page.get_by_text("None of its ticks has enqueued anything yet.")).to_be_visible()
    page.go_back()
    operator.act("Delete: schedule nightly", "delete schedule 'nightly'")
    assert not kept.list()


def the_doctor(operator: Operator) -> None:
    """Damage is found, and repaired."""
    operator.store.enqueue("hurt", queue="hurt")
    operator.underneath.damage("hurt")
    operator.link("Broker").click()
    operator.link("Run the doctor").click()
    operator.act("Repair all", "repair all damage in the store")
    expect(operator.page.get_by_text("The store is sound: nothing is damaged.")).to_be_visible()
    assert [task.id for task in operator.store.inspector.tasks("hurt", "pending")] == ["hurt"]


def a_long_job(operator: Operator) -> None:
    """A bulk action that takes long is watched, and stopped."""
    page = operator.page
    operator.store.enqueue("held", queue="held")
    operator.go("/confirm/purge_queue?queue=held")
    with operator.underneath.held():
        page.locator("main button[type=submit]").click()
        expect(page.get_by_text("Under way: 0 of 1 task so far.")).to_be_visible()
        page.get_by_role("button", name="Stop", exact=True).click()
        expect(page.locator("main section")).to_contain_text("Stopped: 0 of 1 task.")
    operator.link("Activity").click()
    expect(
        page.get_by_role("row", name=re.compile("local delete all tasks of queue 'held'"))
    ).to_contain_text("stopped")
    assert operator.store.state("held", queue="held") is TaskState.PENDING


def charts(operator: Operator) -> None:
    """The series of Prometheus, of another span."""
    operator.link("Charts").click()
    operator.link("7d").click()
    expect(operator.page.get_by_role("heading", name="Runs per second", exact=True)).to_be_visible()


def a_name_that_is_too_long(operator: Operator) -> None:
    """A task whose id fits into no address is listed, and its link says why it is not shown."""
    operator.store.enqueue("x" * 20_000, queue="long")
    operator.go("/queues/long?state=pending")
    operator.page.locator("main tbody a").first.click()
    expect(operator.page.get_by_role("alert")).to_contain_text("too long for an address")


JOURNEYS = (
    queues,
    servers,
    one_task,
    a_task_that_is_gone,
    a_selection,
    all_that_match,
    groups,
    errors,
    schedules,
    the_doctor,
    a_long_job,
    charts,
    a_name_that_is_too_long,
)
