"""What is live: one reader of the broker for all browsers that watch the same thing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import asynq
from asynq.errors import BrokerUnavailable, TaskNotFoundError
from asynq.inspector.overview import Overview
from asynq.web.api.errors import RequestError
from asynq.web.live.rates import RatedReader, RateWindow
from asynq.web.live.topics import LiveTopics, Topic
from asynq_sqlite import MemoryBroker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from asynq.web.live.poller import LiveSnapshot

    Snapshots = AsyncGenerator[tuple[Topic, LiveSnapshot] | None, None]

INTERVAL = 0.01


class Reader:
    """Counts how often a topic is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.reads += 1
        if self.error:
            raise self.error
        return self.reads


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def topic(reader: Reader) -> Topic:
    return Topic("a", reader)


@pytest.fixture
def live() -> LiveTopics:
    return LiveTopics(INTERVAL, max_watchers=60, max_topics=2)


async def latest(snapshots: Snapshots) -> LiveSnapshot:
    while (news := await anext(snapshots)) is None:
        pass
    return news[1]


async def collect(snapshots: Snapshots, count: int) -> list[str]:
    found = [(await latest(snapshots)).id for _ in range(count)]
    await snapshots.aclose()
    return found


@asynccontextmanager
async def watching(live: LiveTopics, *topics: Topic, keep_alive: float = 15.0) -> AsyncIterator[Snapshots]:
    snapshots = live.watch(topics, keep_alive=keep_alive)
    yield snapshots
    await snapshots.aclose()


async def test_fifty_watchers_read_no_more_than_one(live: LiveTopics, reader: Reader) -> None:
    # Each has a topic of its own making, as each request has, and they are one because their keys are.
    streams = [collect(live.watch([Topic("a", reader)]), 20) for _ in range(50)]
    found = await asyncio.gather(*streams)
    assert len({tuple(each) for each in found}) == 1, "all see the same"
    assert reader.reads <= 21


async def test_nobody_watches_and_nothing_is_read(live: LiveTopics, topic: Topic, reader: Reader) -> None:
    assert not live.topics
    await collect(live.watch([topic]), 2)
    assert (live.watchers, live.topics) == (0, 0)
    before = reader.reads
    await aeventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    again = await collect(live.watch([topic]), 1)
    assert reader.reads == before + 1, "a new watcher gets what is read for it"
    assert again


async def test_a_watcher_of_two_topics_gets_both(live: LiveTopics, topic: Topic) -> None:
    other, seen = Topic("b", Reader()), set[Topic]()
    async with watching(live, topic, other) as snapshots:
        async for news in snapshots:
            assert news is not None
            seen.add(news[0])
            if len(seen) == 2:
                break
    assert not live.topics


async def test_a_slow_watcher_gets_the_latest(live: LiveTopics, topic: Topic) -> None:
    async with watching(live, topic) as slow:
        first = await latest(slow)
        quick = await collect(live.watch([topic]), 5)
        assert (first.id, (await latest(slow)).id) == (quick[0], quick[-1])


async def test_a_watcher_that_comes_back_misses_nothing_and_gets_nothing_twice(
    live: LiveTopics, topic: Topic
) -> None:
    async with watching(live, topic) as other:
        seen = await latest(other)
        [following] = await collect(live.watch([topic], [seen.id]), 1)
        assert following != seen.id


async def test_a_watcher_that_has_read_itself_is_not_given_an_older_state(
    live: LiveTopics, topic: Topic, reader: Reader
) -> None:
    async with watching(live, topic) as other:
        await latest(other)
        before = reader.reads
        fresh = live.watch([topic], fresh=True)
        assert (await latest(fresh)).value == before + 1
        await fresh.aclose()


async def test_a_quiet_stream_says_that_it_is_there(topic: Topic) -> None:
    live = LiveTopics(3600, max_watchers=1, max_topics=1)
    async with watching(live, topic, keep_alive=0.001) as stream:
        assert await anext(stream) is not None
        assert await anext(stream) is None


async def test_an_error_is_told_with_what_was_read_last_and_reading_goes_on(
    live: LiveTopics, topic: Topic, reader: Reader
) -> None:
    async with watching(live, topic) as stream:
        good = await latest(stream)
        reader.error = BrokerUnavailable("connection refused")
        while (first := await latest(stream)).trouble is None:
            good = first
        assert first.trouble.message == "the broker is unavailable: connection refused"
        assert (first.value, first.read_at, first.trouble.gone) == (good.value, good.read_at, False)
        assert good.read_at is not None
        assert first.trouble.since >= good.read_at
        reader.error = RuntimeError("secret")
        while (broken := await latest(stream)).trouble == first.trouble:
            pass
        assert broken.trouble is not None
        assert broken.trouble.message == "an error of the server, see its log"
        assert broken.trouble.since == first.trouble.since, "of the first read that failed"
        reader.error = TaskNotFoundError(queue="q", task_id="a")
        while (broken := await latest(stream)).trouble is not None and not broken.trouble.gone:
            pass
        reader.error = None
        while (healed := await latest(stream)).trouble is not None:
            pass
        assert healed.value == reader.reads


@pytest.mark.parametrize(("error", "rest"), [(None, 4.0), (BrokerUnavailable("no reply in time"), 0.5)])
async def test_a_slow_broker_is_not_read_all_the_time(
    live: LiveTopics, error: Exception | None, rest: float
) -> None:
    now, spans = asyncio.get_running_loop().time, list[tuple[float, float]]()

    async def slow() -> None:
        began = now()
        await asyncio.sleep(5 * INTERVAL)
        spans.append((began, now()))
        if error:
            raise error

    await collect(live.watch([Topic("a", slow)]), 2)
    (began, ended), (again, _) = spans
    assert again - ended >= rest * (ended - began)
    if error:
        assert again - ended < 4 * (ended - began), "a page recovers soon"


@pytest.mark.parametrize(
    ("watchers", "topics", "message"),
    [(1, 9, "1 browsers watch already"), (9, 1, "1 different pages are watched already")],
)
async def test_there_is_room_for_so_many(topic: Topic, watchers: int, topics: int, message: str) -> None:
    live = LiveTopics(INTERVAL, max_watchers=watchers, max_topics=topics)
    async with watching(live, topic) as stream:
        await latest(stream)
        with pytest.raises(RequestError, match=message):
            await anext(live.watch([Topic("b", Reader())]))
        if watchers > 1:
            await collect(live.watch([topic]), 1)
    assert (live.watchers, live.topics) == (0, 0)


async def test_closing_ends_all_streams(live: LiveTopics, topic: Topic) -> None:
    async with AsyncExitStack() as opened:
        streams = [await opened.enter_async_context(watching(live, topic)) for _ in range(3)]
        for each in streams:
            await latest(each)
        live.close()
        for each in streams:
            with pytest.raises(StopAsyncIteration):
                await latest(each)
    assert not live.topics


def overview_of(processed: int) -> Overview:
    broker = MemoryBroker()
    asynq.Client(broker).enqueue(asynq.Task("t"))
    info = asynq.Inspector(broker).queue_info("default")
    broker.close()
    fields = {name: getattr(info, name) for name in info.__annotations__} | {"processed_total": processed}
    return Overview(queues=(info.__class__(**fields),), unreadable={}, servers=())


def test_rates_are_averaged_over_a_window() -> None:
    window = RateWindow(10)

    def add(now: float, processed: int) -> float | None:
        rates = window.add(now, overview_of(processed))
        return rates["default"].processed if rates else None

    assert add(0, 100) is None
    assert add(5, 110) == 2
    assert add(10, 120) == 2
    assert add(20, 120) == 0, "what is older than the window is forgotten"
    assert add(21, 0) == 0, "a queue that was deleted counts from zero"


async def test_rates_outlast_a_short_time_in_which_nobody_watches() -> None:
    processed, now = 0, 1000.0

    async def read() -> Overview:
        return overview_of(processed)

    reader = RatedReader(read, lambda: now)
    assert not (await reader()).rates
    processed, now = 100, now + 50
    again = await reader()
    assert (again.rates["default"].processed, len(again.trend)) == (2, 1)
    now += 61
    assert not (await reader()).rates, "after a long one they begin anew"
