"""What is live: one reader of the broker for all browsers that watch."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

import asynq
from asynq.errors import BrokerUnavailable
from asynq.inspector.overview import Overview
from asynq.web import create_app
from asynq.web.api.errors import RequestError
from asynq.web.live import LivePoller, RateWindow
from asynq_sqlite import MemoryBroker
from tests.waiting import aeventually

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from asynq.web.live import LiveSnapshot
    from tests.web.store import Store

EMPTY = Overview(queues=(), unreadable={}, servers=())
INTERVAL = 0.01


class Reader:
    """Counts how often the broker is read."""

    def __init__(self) -> None:
        self.reads = 0
        self.error: Exception | None = None

    async def __call__(self) -> Overview:
        self.reads += 1
        if self.error:
            raise self.error
        return EMPTY


@pytest.fixture
def reader() -> Reader:
    return Reader()


@pytest.fixture
def poller(reader: Reader) -> LivePoller:
    return LivePoller(reader, INTERVAL, max_watchers=60)


async def collect(snapshots: AsyncGenerator[LiveSnapshot | None, None], count: int) -> list[str]:
    found: list[str] = []
    async for snapshot in snapshots:
        if snapshot is not None:
            found.append(snapshot.id)
        if len(found) == count:
            await snapshots.aclose()
    return found


async def test_fifty_watchers_read_no_more_than_one(poller: LivePoller, reader: Reader) -> None:
    streams = [collect(poller.snapshots(), 20) for _ in range(50)]
    found = await asyncio.gather(*streams)
    assert len({tuple(each) for each in found}) == 1, "all see the same"
    assert reader.reads <= 21


async def test_nobody_watches_and_nothing_is_read(poller: LivePoller, reader: Reader) -> None:
    assert not poller.reading
    await collect(poller.snapshots(), 2)
    assert (poller.watchers, poller.reading) == (0, False)
    before = reader.reads
    await aeventually(lambda: asyncio.all_tasks() == {asyncio.current_task()})
    again = await collect(poller.snapshots(), 1)
    assert reader.reads == before + 1, "a new watcher gets what is read for it"
    assert again


async def test_a_slow_watcher_gets_the_latest(poller: LivePoller, reader: Reader) -> None:
    slow = poller.snapshots()
    first = await anext(slow)
    quick = await collect(poller.snapshots(), 5)
    latest = await anext(slow)
    assert first is not None
    assert latest is not None
    assert (first.id, latest.id) == (quick[0], quick[-1])
    await slow.aclose()


async def test_a_watcher_that_comes_back_misses_nothing_and_gets_nothing_twice(poller: LivePoller) -> None:
    other = poller.snapshots()
    seen = await anext(other)
    assert seen is not None
    [following] = await collect(poller.snapshots(seen.id), 1)
    assert following != seen.id
    await other.aclose()


async def test_a_quiet_stream_says_that_it_is_there(reader: Reader) -> None:
    stream = LivePoller(reader, 3600, max_watchers=1).snapshots(keep_alive=0.001)
    assert await anext(stream) is not None
    assert await anext(stream) is None
    await stream.aclose()


async def test_an_error_is_told_and_reading_goes_on(poller: LivePoller, reader: Reader) -> None:
    reader.error = BrokerUnavailable("connection refused")
    stream = poller.snapshots()
    broken = await anext(stream)
    assert broken is not None
    assert (broken.overview, broken.error) == (None, "the broker is unavailable: connection refused")
    reader.error = RuntimeError("secret")
    while (broken := await anext(stream)) is None or "unavailable" in broken.error:
        pass
    assert broken.error == "an error of the server, see its log"
    reader.error = None
    while (healed := await anext(stream)) is None or healed.error:
        pass
    assert healed.overview is EMPTY
    await stream.aclose()


async def test_there_is_room_for_so_many(reader: Reader) -> None:
    poller = LivePoller(reader, INTERVAL, max_watchers=1)
    stream = poller.snapshots()
    await anext(stream)
    with pytest.raises(RequestError, match="1 browsers watch already"):
        await anext(poller.snapshots())
    await stream.aclose()


async def test_closing_ends_all_streams(poller: LivePoller) -> None:
    endless = [asyncio.create_task(collect(poller.snapshots(), 10**9)) for _ in range(3)]
    await aeventually(lambda: poller.watchers == 3)
    poller.close()
    await asyncio.gather(*endless)
    assert not poller.reading


def test_rates_are_averaged_over_a_window() -> None:
    broker = MemoryBroker()
    asynq.Client(broker).enqueue(asynq.Task("t"))
    info = asynq.Inspector(broker).queue_info("default")
    broker.close()
    window = RateWindow(10)

    def add(now: float, processed: int) -> float | None:
        changed = info.__class__(
            **{name: getattr(info, name) for name in info.__annotations__} | {"processed_total": processed}
        )
        rates = window.add(now, Overview(queues=(changed,), unreadable={}, servers=()))
        return rates["default"].processed if rates else None

    assert add(0, 100) is None
    assert add(5, 110) == 2
    assert add(10, 120) == 2
    assert add(20, 120) == 0, "what is older than the window is forgotten"
    assert add(21, 0) == 0, "a queue that was deleted counts from zero"


class Events:
    """Reads a stream of server-sent events from the application itself."""

    def __init__(self, app: Any, path: str, headers: dict[str, str] | None = None) -> None:
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self._gone = asyncio.Event()
        raw = [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {
            "type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"",
            "headers": [(b"host", b"localhost"), *raw], "client": ("127.0.0.1", 1), "scheme": "http",
            "server": ("localhost", 80), "http_version": "1.1", "asgi": {"spec_version": "2.4"},
        }  # fmt: skip
        self._asked = False
        self._task = asyncio.create_task(app(scope, self._receive, self._messages.put))
        self._text = ""

    async def _receive(self) -> Any:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def next(self) -> dict[str, str]:
        """The next event."""
        while "\n\n" not in self._text:
            message = await self._messages.get()
            self._text += message.get("body", b"").decode()
        block, _, self._text = self._text.partition("\n\n")
        pairs = [line.partition(": ") for line in block.split("\n")]
        event = {name: value for name, _, value in pairs if name != "data"}
        event["data"] = "\n".join(value for name, _, value in pairs if name == "data")
        return event if event.get("event") else await self.next()

    async def aclose(self) -> None:
        """Close the connection."""
        self._gone.set()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def test_fifty_browsers_cost_the_broker_no_more_than_one() -> None:
    broker = MemoryBroker()
    await asynq.AsyncClient(broker).enqueue(asynq.Task("t"), queue="<b>")
    app = create_app(broker, live_interval=0.05)
    calls = 0
    execute_many = broker.aexecute_many

    async def counted(operations: Any) -> Any:
        nonlocal calls
        calls += 1
        return await execute_many(operations)

    broker.aexecute_many = counted  # type: ignore[method-assign]
    rendered: list[str] = []
    async with AsyncExitStack() as opened:
        browsers = []
        for _ in range(50):
            browsers.append(Events(app, "/live/overview"))
            opened.push_async_callback(browsers[-1].aclose)
        first = await asyncio.gather(*(browser.next() for browser in browsers))
        before, started_at = calls, int(first[0]["id"].rpartition("-")[2])
        for _ in range(5):
            latest = await asyncio.gather(*(browser.next() for browser in browsers))
            rendered.append(latest[0]["data"])
        reads = int(latest[0]["id"].rpartition("-")[2]) - started_at
        assert calls - before <= 2 * (reads + 1), "two round trips a snapshot, whoever watches"
        assert app.state.web.live.watchers == 50
    await aeventually(lambda: not app.state.web.live.reading)
    assert "&lt;b&gt;" in rendered[0]
    await broker.aclose()
    broker.close()


async def test_a_browser_that_reconnects_names_its_last_event() -> None:
    broker = MemoryBroker()
    app = create_app(broker, live_interval=3600)
    first = Events(app, "/api/live")
    event = await first.next()
    assert json.loads(event["data"])["queues"] == []
    again = Events(app, "/api/live", {"Last-Event-ID": event["id"]})
    other = Events(app, "/api/live", {"Last-Event-ID": "old-1"})
    assert (await other.next())["id"] == event["id"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.next(), 0.05)
    for each in (first, again, other):
        await each.aclose()
    await broker.aclose()
    broker.close()


def test_an_unknown_part_is_not_found(store: Store) -> None:
    with TestClient(create_app(store.broker), base_url="http://localhost", client=("::1", 1)) as client:
        assert client.get("/live/nope").status_code == 404
