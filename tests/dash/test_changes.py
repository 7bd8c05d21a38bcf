"""Keys that change something: the questions, what is done, and how it can be stopped."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from asynq import Schedules, Task
from asynq.protocol.ops import MoveTasks
from tests.dash.driving import driven
from tests.waiting import aeventually

if TYPE_CHECKING:
    from typing import Any

    from tests.dash.driving import Driven, Prepared

HOUR = timedelta(hours=1)
TABS = {"pending": "1", "active": "2", "scheduled": "3", "retry": "4", "archived": "5", "completed": "6"}


async def open_state(screen: Driven, state: str, *shown: str) -> None:
    await screen.open()
    await screen.press(TABS[state])
    await screen.shows(*shown)


CASES = [
    ("archived", "r", "Run this archived task of queue 'default'?", "1 task made pending.", "pending"),
    ("pending", "a", "Archive this pending task of queue 'default'?", "1 task archived.", "archived"),
    ("scheduled", "d", "Delete this scheduled task of queue 'default'?", "1 task deleted.", ""),
    ("active", "c", "Cancel this active task of queue 'default'?", "1 task told to end.", "active"),
]


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
async def test_a_key_changes_the_task_of_the_cursor(memory: Prepared, case: tuple[str, ...]) -> None:
    state, key, question, told, after = case
    memory.enqueue("one", process_in=HOUR if state == "scheduled" else None)
    if state == "archived":
        memory.fail("broken")
    if state == "active":
        memory.take()
    async with driven(memory.broker) as screen:
        await open_state(screen, state, "one")
        await screen.press(key)
        await screen.shows(question)
        await screen.press("n")
        await screen.lacks(question)
        assert memory.states() == {state: 1}
        await screen.press(key)
        await screen.confirm(question)
        await screen.shows(told)
        assert memory.states() == ({after: 1} if after else {})


async def test_a_key_changes_the_marked_tasks(memory: Prepared) -> None:
    memory.enqueue("a", "b", "c")
    async with driven(memory.broker) as screen:
        await open_state(screen, "pending", "3 of 3")
        await screen.press("space", "down", "space")
        await screen.shows("2 tasks marked", "● a", "● c")
        await screen.press("d")
        await screen.confirm("Delete 2 pending tasks of queue 'default'?", "gone for ever")
        await screen.shows("2 tasks deleted.", "1 of 1")
        assert "marked" not in screen.text


async def test_a_page_is_marked_and_marks_are_removed(memory: Prepared) -> None:
    memory.enqueue("a", "b", "c")
    async with driven(memory.broker) as screen:
        await open_state(screen, "pending", "3 of 3")
        await screen.press("asterisk")
        await screen.shows("3 tasks marked")
        await screen.press("u")
        await screen.lacks("marked")


async def test_a_marked_task_that_has_moved_is_left_as_it_is(on: Prepared) -> None:
    on.enqueue("a", "b")
    async with driven(on.broker, interval=60.0) as screen:
        await open_state(screen, "pending", "2 of 2")
        await screen.press("asterisk", "d")
        await screen.shows("Delete 2 pending tasks")
        on.inspector.delete_task("default", "a")
        await screen.press("y")
        await screen.shows("1 task deleted. 1 left as it was")


@pytest.mark.parametrize(
    ("key", "question", "told", "after"),
    [
        ("R", "Run 300 archived tasks of queue 'default'?", "300 tasks made pending.", {"pending": 300}),
        ("D", "Delete 300 archived tasks of queue 'default'?", "300 tasks deleted.", {}),
    ],
)
async def test_a_key_changes_all_tasks_of_a_state(
    on: Prepared, key: str, question: str, told: str, after: dict[str, int]
) -> None:
    on.enqueue(*(f"t{number}" for number in range(300)))
    on.inspector.archive_all("default", "pending")
    async with driven(on.broker) as screen:
        await open_state(screen, "archived", "of 300")
        await screen.press(key)
        await screen.confirm(question)
        await screen.shows(told)
        assert on.states() == after


async def test_a_key_changes_all_tasks_that_match_the_filter(memory: Prepared) -> None:
    memory.enqueue(*(f"a{number}" for number in range(250)), type="email:send")
    memory.enqueue("other", type="report")
    async with driven(memory.broker) as screen:
        await open_state(screen, "pending", "of 251")
        await screen.press("slash")
        await screen.write("email")
        await screen.shows("selected among")
        await screen.press("enter", "A")
        await screen.confirm(
            "Archive 250 pending tasks of queue 'default', all that match the filter 'email'?"
        )
        await screen.shows("250 tasks archived.")
        assert memory.states() == {"pending": 1, "archived": 250}


async def test_all_tasks_of_a_group_are_changed(memory: Prepared) -> None:
    memory.enqueue("a", "b", group="g")
    memory.enqueue("c", group="other")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.press("7")
        await screen.shows("other")
        await screen.press("enter")
        await screen.shows("of this group")
        await screen.press("D")
        await screen.confirm("Delete 2 aggregating tasks in group 'g' of queue 'default'?")
        await screen.shows("2 tasks deleted.")
        assert memory.states() == {"aggregating": 1}


async def test_a_large_change_shows_its_progress_and_can_be_stopped(
    on: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    on.enqueue(*(f"t{number}" for number in range(1000)))
    execute = on.broker.aexecute
    steps = 0

    async def held(op: Any, /) -> Any:
        """The third step waits, as a broker does that has much to do."""
        nonlocal steps
        if isinstance(op, MoveTasks):
            steps += 1
            if steps == 3:
                await asyncio.Event().wait()
        return await execute(op)

    monkeypatch.setattr(on.broker, "aexecute", held)
    async with driven(on.broker) as screen:
        await open_state(screen, "pending", "of 1,000")
        await screen.press("D")
        await screen.confirm("Delete 1,000 pending tasks")
        await screen.shows("400 of 1,000", "█████", "esc  stop")
        await screen.press("escape")
        await screen.shows("Stopped. What was done until then stays done.")
        assert on.states() == {"pending": 600}


async def test_a_queue_is_paused_and_unpaused(memory: Prepared) -> None:
    memory.enqueue("a")
    async with driven(memory.broker) as screen:
        await screen.shows("default")
        await screen.press("p")
        await screen.confirm("Pause queue 'default'?", "1 pending task at the moment")
        await screen.shows("default (paused)", "Queue 'default' is paused.")
        assert memory.inspector.queue_info("default").paused
        await screen.press("enter")
        await screen.shows("← default (paused)")
        await screen.press("p")
        await screen.confirm("Unpause queue 'default'?")
        await screen.lacks("(paused)")
        assert not memory.inspector.queue_info("default").paused


async def test_the_task_of_a_page_is_changed(memory: Prepared) -> None:
    memory.enqueue("one", process_in=HOUR)
    async with driven(memory.broker) as screen:
        await open_state(screen, "scheduled", "one")
        await screen.press("enter")
        await screen.shows("It is due")
        await screen.press("r")
        await screen.confirm("Run this scheduled task of queue 'default'?", "as soon as one is free")
        await screen.shows("It runs as soon as a worker is free.")
        await screen.press("d")
        await screen.confirm("Delete this pending task")
        await screen.shows("it no longer exists")


async def test_schedules_are_paused_and_run(on: Prepared) -> None:
    schedules = Schedules(on.broker)
    schedules.set("nightly", "0 3 * * *", Task("report"))
    async with driven(on.broker) as screen:
        await screen.press("4")
        await screen.shows("nightly")
        await screen.press("p")
        await screen.confirm("Pause schedule 'nightly'?")
        await screen.shows("Schedule 'nightly' is paused.")
        assert schedules.get("nightly").paused
        await screen.press("r")
        await screen.confirm("Enqueue a task 'report' of schedule 'nightly' now?")
        await aeventually(lambda: on.inspector.queues() == ("default",))
        assert on.states() == {"pending": 1}


async def test_with_read_only_no_key_changes_anything(memory: Prepared) -> None:
    memory.enqueue("a", "b")
    Schedules(memory.broker).set("nightly", "0 3 * * *", Task("report"))
    async with driven(memory.broker, read_only=True) as screen:
        await screen.shows("default", "READ-ONLY")
        await screen.press("p", "4", "p", "r", "1", "enter")
        await screen.shows("2 of 2")
        await screen.press("space", "r", "a", "d", "c", "R", "A", "D", "C", "p", "enter")
        await screen.shows("← default > ")
        await screen.press("r", "a", "d", "c")
        await screen.refreshed()
        assert "do it" not in screen.text
        assert "Delete" not in screen.text
        assert memory.states() == {"pending": 2}
