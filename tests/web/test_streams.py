"""The streams of live pages: what they say, to whom, and what that costs the broker."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

import asynq
from asynq.errors import BrokerUnavailable
from asynq.scheduler.schedules import AsyncSchedules
from asynq.web import BasicAuthentication, User, UserRole, create_app
from asynq.web.audit import Outcome
from asynq.web.call import WebCall
from asynq.web.pages.links import Links
from asynq.web.pages.live_parts import LIVE_PAGES
from asynq.web.streams import PageParts
from asynq_sqlite import MemoryBroker
from tests.waiting import aeventually
from tests.web.events import Events, get

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asynq.web.live.topics import Topic

QUEUE = {"queue": "mail", "state": "pending"}
ACTION = r'formaction=|href="[^"]*/confirm/'
TASK = {"queue": "mail", "task_id": "<b>"}
ADDRESSES: dict[str, dict[str, str]] = {name: {} for name in LIVE_PAGES} | {"queue": QUEUE, "task": TASK}


@pytest.fixture
def memory() -> Iterator[MemoryBroker]:
    made = MemoryBroker()
    asynq.Client(made).enqueue(asynq.Task("<u>"), queue="mail", task_id="<b>")
    yield made
    made.close()


@asynccontextmanager
async def watching(
    app: Any, page: str, query: dict[str, str] | None = None, headers: dict[str, str] | None = None
) -> AsyncIterator[Events]:
    events = Events(app, f"/live/{page}", ADDRESSES[page] if query is None else query, headers)
    yield events
    await events.aclose()


class Calls:
    """Counts the calls of a broker, and refuses them if told to."""

    def __init__(self, broker: Any) -> None:
        self.count = 0
        self.error: Exception | None = None
        for name in ("aexecute", "aexecute_many"):
            setattr(broker, name, self._counted(getattr(broker, name)))

    def _counted(self, execute: Any) -> Any:
        async def counted(asked: Any) -> Any:
            self.count += 1
            if self.error:
                raise self.error
            return await execute(asked)

        return counted


def topics_of(app: Any, page: str) -> list[Topic]:
    """What is read for a page."""
    asked = msgspec.convert(ADDRESSES[page], LIVE_PAGES[page].asked, strict=False)
    viewer = WebCall(web=app.state.web, user=User("eve", UserRole.VIEWER))
    return PageParts(LIVE_PAGES[page], asked, viewer, Links("")).topics


@pytest.mark.parametrize("page", ["overview", "queue", "task", "servers", "schedules", "activity"])
async def test_fifty_browsers_cost_the_broker_no_more_than_one(memory: MemoryBroker, page: str) -> None:
    app = create_app(memory, live_interval=0.02)
    await app.state.web.writability.refresh()
    calls, live = Calls(memory), app.state.web.live

    def reads() -> int:
        found = [live.latest(topic) for topic in topics_of(app, page)]
        return sum(int(each.id.rpartition("-")[2]) for each in found if each is not None)

    async def cost(browsers: int) -> tuple[int, int]:
        """Calls of the broker, and reads of the topics, over a while."""
        before = calls.count
        async with AsyncExitStack() as opened:
            made = [await opened.enter_async_context(watching(app, page)) for _ in range(browsers)]
            await asyncio.gather(*(each.next(part.block) for each in made for part in LIVE_PAGES[page].parts))
            await aeventually(lambda: reads() >= 8)
            assert live.watchers == browsers
            spent = (calls.count - before, reads())
        await aeventually(lambda: not live.topics)
        return spent

    (alone, reads_of_one), (together, reads_of_fifty) = await cost(1), await cost(50)
    assert together / (reads_of_fifty + 2) <= alone / reads_of_one
    assert (alone > 0) is (page != "activity")


@pytest.mark.parametrize("page", [name for name in LIVE_PAGES if name != "job"])
async def test_a_part_is_rendered_as_the_page_is(memory: MemoryBroker, page: str) -> None:
    app = create_app(memory)
    asked = msgspec.convert(ADDRESSES[page], LIVE_PAGES[page].asked, strict=False)
    address = LIVE_PAGES[page].address(Links(""), asked)
    shown = (await get(app, address)).text
    assert f'data-stream="/live/{page}' in shown
    async with watching(app, page) as events:
        for part in LIVE_PAGES[page].parts:
            text = (await events.next(part.block))["data"]
            assert f'data-live="{part.block}"' in shown
            assert len(set(lines(text)) & set(lines(shown))) > 0.6 * len(set(lines(text)))
            assert "<b>" not in text
            assert "<u>" not in text


def lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


async def test_a_viewer_is_sent_no_buttons_and_an_operator_is(memory: MemoryBroker) -> None:
    users = BasicAuthentication({"alice": ("wonder", "operator"), "bob": ("builder", "viewer")})
    app = create_app(memory, authentication=users, live_interval=3600)
    for page in ("overview", "queue", "task"):
        async with AsyncExitStack() as opened:
            alice, bob = [
                # They connect again: a page that was just loaded waits for a read after that.
                await opened.enter_async_context(
                    watching(app, page, headers={**basic(name, password), "Last-Event-ID": "old"})
                )
                for name, password in (("alice", "wonder"), ("bob", "builder"))
            ]
            for part in LIVE_PAGES[page].parts:
                # Both get what was read once.
                assert re.search(ACTION, (await alice.next(part.block))["data"])
                assert not re.search(ACTION, (await bob.next(part.block))["data"])


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


async def test_what_has_not_changed_is_not_sent(memory: MemoryBroker) -> None:
    client = asynq.AsyncClient(memory)
    app = create_app(memory, live_interval=0.01)
    async with watching(app, "servers") as servers, watching(app, "queue") as queue:
        assert "No server is online" in (await servers.next("servers"))["data"]
        again = asyncio.create_task(servers.next("servers"))
        before = (await queue.next("figures"))["data"]
        await client.enqueue(asynq.Task("t"), queue="mail")
        while (await queue.next("figures"))["data"] == before:
            pass
        assert not again.done()
        again.cancel()


async def test_an_outage_is_told_once_and_the_page_recovers(memory: MemoryBroker) -> None:
    app, calls = create_app(memory, live_interval=0.01), Calls(memory)
    async with watching(app, "task") as events:
        assert (await events.next("trouble"))["data"] == ""
        await events.next("task")
        calls.error = BrokerUnavailable("connection refused.")
        told = (await events.next())["data"]
        assert "the broker is unavailable: connection refused" in told
        assert "Nothing can be read since" in told
        assert "connection refused. Last read at" in told
        calls.error = None
        healed = await events.next()
        assert (healed["event"], healed["data"]) == ("trouble", "")


async def test_a_task_that_is_gone_is_said_to_be(memory: MemoryBroker) -> None:
    app = create_app(memory, live_interval=0.01)
    async with watching(app, "task") as events:
        await events.next("task")
        asynq.Inspector(memory).delete_task("mail", "<b>")
        told = await events.next("trouble")
        assert told["data"].startswith("Queue 'mail' has no task '<b>' since ")


async def test_the_rows_of_a_filter_and_a_page_are_those_of_the_table(memory: MemoryBroker) -> None:
    client = asynq.AsyncClient(memory)
    for name in ("a", "b", "c"):
        await client.enqueue(asynq.Task(f"type-{name}"), queue="mail", task_id=name)
    asked = {**QUEUE, "type": "type-*", "offset": "1", "size": "1", "order": "desc"}
    async with watching(create_app(memory), "queue", asked) as events:
        text = (await events.next("tasks"))["data"]
    assert re.findall('data-key="(.*?)"', text) == ["b"]
    assert "next=%2Fqueues%2Fmail%3F" in text
    assert "type%3Dtype-%252A" in text


@pytest.mark.parametrize(
    ("path", "query", "status"),
    [
        ("/live/nope", {}, 404),
        ("/live/task", {"queue": "mail"}, 400),
        ("/live/task", {**TASK, "other": "1"}, 400),
        ("/live/queue", {**QUEUE, "state": "nope"}, 400),
        ("/live/queue", {**QUEUE, "size": "100000"}, 400),
    ],
)
async def test_what_is_no_stream_is_refused(
    memory: MemoryBroker, path: str, query: dict[str, str], status: int
) -> None:
    answer = await get(create_app(memory), path, query)
    assert answer.status == status
    assert json.loads(answer.text)["error"]["code"] in ("not_found", "invalid_request")


async def test_too_many_different_pages_are_refused_politely(memory: MemoryBroker) -> None:
    app = create_app(memory, max_topics=1)
    async with watching(app, "servers") as events:
        await events.next("servers")
        answer = await get(app, "/live/activity")
        assert (answer.status, answer.headers["retry-after"]) == (503, "30")
        assert json.loads(answer.text)["error"]["code"] == "too_many_topics"
        async with watching(app, "servers") as same:
            await same.next("servers")


async def test_a_stream_ends_so_that_its_user_is_authenticated_again(memory: MemoryBroker) -> None:
    app = create_app(memory, live_interval=0.01, max_stream=0.05)
    async with watching(app, "servers") as events:
        await events.end()
    await aeventually(lambda: not app.state.web.live.topics)


async def test_a_browser_that_reconnects_names_its_last_event(memory: MemoryBroker) -> None:
    app = create_app(memory, live_interval=3600)
    first = Events(app, "/api/live")
    event = await first.next()
    assert [each["queue"] for each in json.loads(event["data"])["queues"]] == ["mail"]
    again = Events(app, "/api/live", headers={"Last-Event-ID": event["id"]})
    other = Events(app, "/api/live", headers={"Last-Event-ID": "old-1,old-2"})
    assert (await other.next())["id"] == event["id"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(again.next(), 0.05)
    for each in (first, again, other):
        await each.aclose()


async def test_a_job_is_live_to_its_end(memory: MemoryBroker) -> None:
    app = create_app(memory, live_interval=0.01)
    released = asyncio.Event()

    async def action(progress: Any) -> int:
        progress(5)
        await released.wait()
        return 7

    job = app.state.web.jobs.start(Outcome(user="alice", action="a", what="delete <b>"), action)
    asked = {"job_id": job.id, "next": "//evil.example"}
    async with watching(app, "job", asked) as events:
        running = (await events.next("job"))["data"]
        released.set()
        while "Done" not in (done := (await events.next("job"))["data"]):
            pass
    assert "5 tasks so far" in running
    assert "Delete &lt;b&gt;." in running
    assert "7 tasks." in done
    assert "evil" not in done


async def test_a_page_is_not_sent_an_older_state_than_it_shows(memory: MemoryBroker) -> None:
    app, schedules = create_app(memory, live_interval=0.3), AsyncSchedules(memory)
    async with watching(app, "schedules") as other:
        await other.next("schedules")
        await schedules.set("nightly", "@daily", asynq.Task("t"))
        assert "nightly" in (await get(app, "/schedules")).text
        async with watching(app, "schedules") as events:
            assert "nightly" in (await events.next("schedules"))["data"]
