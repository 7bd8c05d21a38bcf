"""Tasks of a queue: pages of any number, filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from asynq.dash.model.query import names_matching, task_filter
from asynq.dash.model.tasks import MAX_LOOKED_AT, STEP, search_page
from asynq.protocol.ops import GetQueueStats, ListTasks
from asynq.task_state import TaskState
from tests.dash.driving import SMALL, driven

if TYPE_CHECKING:
    from asynq import Broker
    from tests.dash.driving import Prepared

MANY = 1_000


class Requests:
    """The operations that a broker is sent."""

    def __init__(self, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
        self.trips: list[list[Any]] = []
        aexecute, aexecute_many = broker.aexecute, broker.aexecute_many

        async def one(op: Any, /) -> Any:
            self.trips.append([op])
            return await aexecute(op)

        async def many(ops: Any, /) -> Any:
            if len(ops) > 1:  # a broker may execute one operation as a list of one
                self.trips.append(list(ops))
            return await aexecute_many(ops)

        monkeypatch.setattr(broker, "aexecute", one)
        monkeypatch.setattr(broker, "aexecute_many", many)


@pytest.fixture
def requests(on: Prepared, monkeypatch: pytest.MonkeyPatch) -> Requests:
    return Requests(on.broker, monkeypatch)


async def test_any_number_of_tasks_is_shown_page_by_page(memory: Prepared) -> None:
    memory.enqueue(*(f"task-{number:04d}" for number in range(MANY)))
    async with driven(memory.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("task-0000", "task-0018", "Tasks 1 to 19 of 1,000")
        await screen.press("pagedown")
        await screen.shows("task-0019", "Tasks 20 to 38 of 1,000")
        await screen.press("end")
        await screen.shows("task-0999", "Tasks 982 to 1,000 of 1,000")
        await screen.press("down")
        await screen.press("pageup")
        await screen.shows("Tasks 963 to 981 of 1,000")
        await screen.press("home")
        await screen.shows("Tasks 1 to 19 of 1,000")
        await screen.press("up", *["down"] * 19)
        await screen.shows("Tasks 20 to 38 of 1,000")
        await screen.press("up")
        await screen.shows("Tasks 1 to 19 of 1,000", "> task-0018")


async def test_pages_that_are_gone_are_left(memory: Prepared) -> None:
    memory.enqueue(*(f"task-{number:04d}" for number in range(30)))
    async with driven(memory.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("Tasks 1 to 19 of 30")
        await screen.press("pagedown")
        await screen.shows("Tasks 20 to 30 of 30")
        memory.inspector.delete_all("default", "pending")
        await screen.shows("No tasks")
        memory.enqueue("new")
        await screen.shows("new", "Tasks 1 to 1 of 1")


async def test_only_what_is_shown_is_read_in_one_round_trip(on: Prepared, requests: Requests) -> None:
    on.enqueue(*(f"task-{number:04d}" for number in range(100)))
    async with driven(on.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("task-0018")
        await screen.refreshed()
        requests.trips.clear()
        await screen.refreshed(3)
        for trip in requests.trips:
            assert [type(op) for op in trip] == [GetQueueStats, ListTasks]
            assert trip[1].limit == 19


async def test_all_queues_are_read_in_two_round_trips(on: Prepared, requests: Requests) -> None:
    for number in range(30):
        on.enqueue("t", queue=f"q{number}")
    async with driven(on.broker, SMALL) as screen:
        await screen.shows("q0")
        await screen.refreshed()
        requests.trips.clear()
        before = screen.app.refreshes
        await screen.refreshed(3)
        assert len(requests.trips) <= 2 * (screen.app.refreshes - before + 1)


async def test_tasks_are_filtered_as_one_types(memory: Prepared) -> None:
    memory.enqueue("a", type="email:send", payload={"user": 1})
    memory.enqueue("b", type="email:send", payload={"user": 2})
    memory.enqueue("c", type="report", payload={"user": 1})
    memory.fail("it timed out", 3)
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.press("5")
        await screen.shows("3 of 3")
        await screen.press("slash")
        await screen.write('email payload="user":1')
        await screen.shows("1 task selected", "to the end")
        assert screen.row("a")
        assert not screen.row("b")
        await screen.press("escape")
        await screen.shows("3 of 3")
        await screen.press("slash")
        await screen.write('error="TIMED OUT" type=rep*')
        await screen.shows("1 task selected")
        assert screen.row("c")
        await screen.press("enter", "1")
        await screen.shows("No tasks")


async def test_esc_ends_the_filter_first_and_then_leaves(memory: Prepared) -> None:
    memory.enqueue("a", type="email")
    memory.enqueue("b", type="report")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.shows("2 of 2")
        await screen.press("slash")
        await screen.write("email")
        await screen.shows("1 task selected")
        await screen.press("enter")
        await screen.shows("Clear filter")
        await screen.press("escape")
        await screen.shows("2 of 2")
        await screen.lacks("Clear filter")
        await screen.press("escape")
        await screen.shows("1 Queues")


async def test_a_filter_that_is_opened_again_is_replaced_by_what_is_typed(memory: Prepared) -> None:
    memory.enqueue("a", type="email")
    memory.enqueue("b", type="report")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.shows("2 of 2")
        await screen.press("slash")
        await screen.write("type=email")
        await screen.shows("1 task selected")
        await screen.press("enter", "slash")
        await screen.write("type=report")
        await screen.lacks("type=email")
        await screen.shows("> b", "1 task selected")


async def test_a_filter_that_means_nothing_is_told(memory: Prepared) -> None:
    memory.enqueue("a")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.shows("1 of 1")
        await screen.press("slash")
        await screen.write("older=soon")
        await screen.shows("The filter is not used", "is not a duration")
        assert screen.row("a")


async def test_a_search_is_bounded_and_goes_on(memory: Prepared) -> None:
    count = MAX_LOOKED_AT + STEP
    memory.enqueue(*(f"{number:05d}" for number in range(count)))
    memory.enqueue("wanted", type="wanted")
    async with driven(memory.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("Tasks 1 to 19")
        await screen.press("slash")
        await screen.write("wanted")
        await screen.shows("0 tasks selected among 1 to 5,000 of 5,501", "Page down goes on")
        await screen.press("enter", "pagedown")
        await screen.shows("1 task selected among 5,001 to 5,501", "wanted")


async def test_a_search_finds_each_task_once(on: Prepared) -> None:
    on.enqueue(*(f"{number:04d}" for number in range(STEP + 100)))
    where = task_filter("t")
    assert where is not None
    found: list[str] = []
    start = 0
    while True:
        page = await search_page(
            on.broker, "default", TaskState.PENDING, None, start=start, limit=70, where=where
        )
        found += [task.id for task in page.tasks]
        start = page.end
        if not page.more:
            break
    assert found == [f"{number:04d}" for number in range(STEP + 100)]
    await on.broker.aclose()


def test_the_text_of_a_filter_names_conditions() -> None:
    where = task_filter('email:* payload="a b" error=x older=2h')
    assert where is not None
    assert (where.type, where.payload, where.error) == ("email:*", "a b", "x")
    assert where.older_than is not None
    assert where.older_than.total_seconds() == 7200
    assert task_filter("mail") == task_filter("type=*mail*")
    assert task_filter('  "" ') is None
    with pytest.raises(ValueError, match="given twice"):
        task_filter("a b")


def test_names_contain_all_words() -> None:
    assert names_matching(["Mail-low", "mail", "low"], "LOW mail") == ["Mail-low"]
