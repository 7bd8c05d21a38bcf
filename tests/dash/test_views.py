"""What each view shows, at the smallest and at a large size."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asynq import Schedules, Task
from asynq.protocol.ops import Complete, Done, RecordEnqueueEvent, Retry, WriteScheduler, WriteServer
from asynq.protocol.presence import EnqueueEvent, SchedulerEntry, ServerInfo, WorkerInfo
from tests.dash.driving import LARGE, SMALL, driven

if TYPE_CHECKING:
    import pytest

    from asynq import Broker
    from tests.dash.driving import Driven, Prepared

HOUR = timedelta(hours=1)


def prepare(on: Prepared) -> None:
    """Tasks in all states, in two queues, one of which is paused."""
    on.enqueue(*(f"first{number}" for number in range(7)), payload={"n": 1}, retention=HOUR)
    on.fail("timed out", 2)
    on.broker.execute(Complete(delivery=on.take(), result=b'{"ok":true}'))
    on.take()
    on.enqueue("later", process_in=HOUR)
    on.enqueue("grouped1", "grouped2", group="customer-7")
    on.enqueue("other", queue="low")
    on.inspector.pause("low")


def write_server(broker: Broker) -> None:
    now = datetime.now(UTC)
    run = WorkerInfo(
        task_id="first3", task_type="t", payload=b"{}", queue="default", started_at=now, deadline=now + HOUR
    )
    server = ServerInfo(
        id="s", host="box", pid=77, started_at=now, concurrency=8, queues={"default": 3}, workers=(run,)
    )
    broker.execute(WriteServer(server=server, ttl=60_000))


async def whole(screen: Driven) -> None:
    """Every line is as wide as the screen, the first and the last ones are where they belong."""
    await screen.shows("? Keys", "q Quit")
    width, height = screen.app.size
    lines = screen.lines
    assert len(lines) == height
    assert {len(line) for line in lines} == {width}
    assert "? Keys" in lines[-1]
    assert "q Quit" in lines[-1]


async def test_all_views_fit_on_a_small_screen(memory: Prepared) -> None:
    await look_at_all_views(memory, SMALL)


async def test_all_views_fit_on_a_large_screen(memory: Prepared) -> None:
    await look_at_all_views(memory, LARGE)


async def look_at_all_views(on: Prepared, size: tuple[int, int]) -> None:
    prepare(on)
    write_server(on.broker)
    async with driven(on.broker, size) as screen:
        await screen.shows("2 queues · 11 tasks", "low (paused)", "servers 1 · slots 1/8")
        await whole(screen)
        for key, text in (("2", "Runs by day"), ("3", "box"), ("4", "no periodic tasks")):
            await screen.press(key)
            await screen.shows(text)
            await whole(screen)
        await screen.press("1", "enter")
        for key in "12345678":
            await screen.press(key)
            await screen.refreshed()
            await whole(screen)
        await screen.press("5", "enter")
        await screen.shows("last error", "timed out", "Payload")
        await whole(screen)


async def test_a_smaller_screen_shows_fewer_columns(memory: Prepared) -> None:
    prepare(memory)
    async with driven(memory.broker, LARGE) as screen:
        await screen.shows("memory", "aggr", "1 minute")
        await screen.pilot.resize_terminal(*SMALL)
        await screen.lacks("memory", "aggr")
        await screen.shows("queue", "pend", "retry", "latency", "1 minute")
        await whole(screen)


async def test_tabs_have_their_key_before_and_a_count_behind_their_name(
    memory: Prepared,
) -> None:
    prepare(memory)
    async with driven(memory.broker, SMALL) as screen:
        await screen.shows("1 Queues", "2 Graphs", "3 Servers", "4 Schedules")
        await screen.open()
        await screen.shows(
            "1 pend:3", "2 act:1", "3 sched:1", "4 retry ", "5 arch:2", "6 done:1", "7 grp:1", "8 graph"
        )


async def test_ids_that_are_cut_show_their_end(memory: Prepared) -> None:
    first, second = (f"01a22e2d-89ab-7def-8123-4567{end}" for end in ("7f4c91d2", "0d0c0b0a"))
    memory.enqueue(first, second, type="a_rather_long_type_of_tasks", payload={"a": "long payload" * 9})
    async with driven(memory.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("2 of 2")
        assert "…" in screen.text
        assert re.search(r"…\S*7f4c91d2 ", screen.text)
        assert re.search(r"…\S*0d0c0b0a ", screen.text)


async def test_queues_are_sorted_by_a_column(memory: Prepared) -> None:
    prepare(memory)
    memory.enqueue(*(f"more{number}" for number in range(20)), queue="zebra")
    async with driven(memory.broker) as screen:
        await screen.shows("zebra")
        order = [name for line in screen.lines for name in ("default", "low", "zebra") if f" {name}" in line]
        assert order == ["default", "low", "zebra"]
        await screen.press("s")
        order = [name for line in screen.lines for name in ("default", "low", "zebra") if f" {name}" in line]
        assert order == ["zebra", "default", "low"]


async def test_queues_are_filtered_as_one_types(memory: Prepared) -> None:
    prepare(memory)
    async with driven(memory.broker) as screen:
        await screen.shows("default", "low")
        await screen.press("slash")
        await screen.write("LO")
        await screen.shows("1 of 2 queues")
        assert not screen.row("default")
        await screen.press("escape")
        await screen.shows("default", "2 queues")
        await screen.press("slash")
        await screen.write("zz")
        await screen.shows("No queue matches the filter.")
        await screen.press("enter", "escape")
        await screen.shows("default", "2 queues")


async def test_a_queue_has_a_view_for_each_state(on: Prepared) -> None:
    prepare(on)
    async with driven(on.broker) as screen:
        await screen.open()
        await screen.shows("1 Pending: 3", "2 Active: 1", "3 Scheduled: 1", "4 Retry ", "5 Archived: 2")
        await screen.shows("6 Completed: 1", "7 Groups: 1", "8 Graphs")
        await screen.shows("first4")
        for key, texts in (
            ("2", ["first3"]),
            ("3", ["later", "in 59m", '{"n":1}'][:2]),
            ("4", ["There are no such tasks."]),
            ("5", ["first0", "first1", "timed out"]),
            ("6", ["first2", '{"ok":true}']),
        ):
            await screen.press(key)
            await screen.shows(*texts)
        await screen.press("right")
        await screen.shows("customer-7")
        await screen.press("enter")
        await screen.shows("grouped1", "grouped2", "of this group")
        await screen.press("escape")
        await screen.shows("customer-7", "oldest task")
        await screen.press("escape")
        await screen.shows("1 Queues", "low (paused)")


async def test_servers_are_shown_with_what_they_run(memory: Prepared) -> None:
    prepare(memory)
    write_server(memory.broker)
    async with driven(memory.broker) as screen:
        await screen.press("3")
        await screen.shows("box", "77", "1/8", "default=3", "1 run reported on 8 slots")
        await screen.press("tab", "enter")
        await screen.shows("← default > first3", "box:77 has run it for")


async def test_schedules_are_shown_wherever_they_are_kept(on: Prepared) -> None:
    Schedules(on.broker).set("nightly", "0 3 * * *", Task("report", {"a": 1}))
    entry = SchedulerEntry(
        id="in-code", spec="@every 5m", task_type="ping", next_enqueue_at=datetime.now(UTC)
    )
    on.broker.execute(WriteScheduler(scheduler_id="s", entries=(entry,), ttl=60_000))
    event = EnqueueEvent(task_id="enqueued-by-it", enqueued_at=datetime.now(UTC))
    on.broker.execute(RecordEnqueueEvent(entry_id="in-code", event=event, keep=60_000))
    async with driven(on.broker) as screen:
        await screen.press("4")
        await screen.shows("nightly", "0 3 * * *", "report", "in-code", "1 schedule in the broker")
        await screen.press("down", "enter")
        await screen.shows("Enqueued last", "enqueued-by-it")
        await screen.press("escape", "p")
        await screen.shows("scheduler's program")


async def test_graphs_show_what_ended_while_it_was_watched(on: Prepared) -> None:
    on.enqueue(*(f"t{number}" for number in range(20)))
    async with driven(on.broker) as screen:
        await screen.press("2")
        await screen.refreshed()
        for _ in range(10):
            on.broker.execute(Done(delivery=on.take()))
        on.fail("broken", 2)
        await screen.shows("Runs per second", "Failed runs", "16.7%", "Latency", "█")
        await screen.press("1", "enter", "8")
        await screen.shows("Runs by day (UTC)", "1m ago")
        await screen.press("w")
        await screen.shows("5m ago")


async def test_a_task_is_shown_whole(memory: Prepared) -> None:
    memory.enqueue("one", payload={"user": 42}, type="email:send", process_in=HOUR, max_retry=3)
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.press("3")
        await screen.shows("one")
        await screen.press("enter")
        await screen.shows("email:send", "It is due in 59m", "0 of 3", '"user": 42', "as json")
        await screen.press("v")
        await screen.shows('{"user":42}', "as text")
        await screen.press("v")
        await screen.shows("00000000  7b 22 75 73 65 72", "as hex")
        memory.inspector.archive_task("default", "one")
        await screen.shows("It does not run again unless it is run by hand.")
        memory.inspector.delete_task("default", "one")
        await screen.shows("it no longer exists")


async def test_failed_attempts_of_a_task_are_lines_with_the_latest_first(memory: Prepared) -> None:
    memory.enqueue("one")
    memory.broker.execute(Retry(delivery=memory.take(), delay=3_600_000, error="refused\n" + 50 * "long "))
    memory.inspector.run_task("default", "one")
    memory.fail("boom")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.press("5")
        await screen.shows("one")
        await screen.press("enter")
        await screen.shows("attempt 2", "archived: boom", "attempt 1", "retry: refused\\nlong")
        places = [screen.text.index(text) for text in ("attempt 2", "attempt 1")]
        assert places == sorted(places)
        assert "…" in next(line for line in screen.lines if "attempt 1" in line)


async def test_a_task_of_a_paused_queue_waits_for_the_end_of_the_pause(memory: Prepared) -> None:
    memory.enqueue("one")
    memory.inspector.pause("default")
    async with driven(memory.broker) as screen:
        await screen.open()
        await screen.shows("one")
        await screen.press("enter")
        await screen.shows("It waits: its queue is paused. It has waited for")


async def test_a_result_that_comes_later_is_shown(memory: Prepared) -> None:
    memory.enqueue("one", payload={"a": 1}, retention=HOUR)
    async with driven(memory.broker, SMALL) as screen:
        await screen.open()
        await screen.shows("one")
        await screen.press("enter")
        await screen.shows("It runs as soon as a worker is free.")
        memory.broker.execute(Complete(delivery=memory.take(), result=b'{"answer":{"is":42}}'))
        await screen.shows("It is deleted in", '"is": 42')


async def test_the_keys_of_a_page_are_listed(memory: Prepared) -> None:
    prepare(memory)
    async with driven(memory.broker) as screen:
        await screen.shows("default")
        await screen.press("question_mark")
        await screen.shows("Keys of this page", "Pause", "Sort", "Light or dark")
        await screen.press("escape", "enter", "5")
        await screen.shows("first0")
        await screen.press("question_mark")
        await screen.shows("Run all that match", "Delete all that match (purge)", "Mark this page")
        assert "Cancel all" not in screen.text
        await screen.press("escape", "enter")
        await screen.shows("Payload")
        await screen.press("question_mark")
        await screen.shows("Keys of this page", "JSON, text, hex", "Back")
        for scrolling in ("Scroll", "Page Up", "Page Left"):
            assert scrolling not in screen.text


async def test_the_theme_is_switched(memory: Prepared) -> None:
    prepare(memory)
    async with driven(memory.broker, theme="light") as screen:
        await screen.shows("default")
        assert not screen.app.current_theme.dark
        await screen.press("t")
        assert screen.app.current_theme.dark


async def test_without_colours_nothing_is_coloured(memory: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(memory)
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven(memory.broker) as screen:
        await screen.shows("low (paused)")
        strips = [
            screen.app.screen._compositor.render_strips()[y].apply_filter(
                each, screen.app.background_colors[1]
            )
            for y in range(5)
            for each in screen.app._filters[-1:]
        ]
        styles = [segment.style for strip in strips for segment in strip if segment.style]
        colours = [colour for style in styles for colour in (style.color, style.bgcolor) if colour]
        assert {colour.name for colour in colours} == {"default"}
        assert any(style.reverse for style in styles)
