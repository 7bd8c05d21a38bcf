"""A headless Chromium, and the web interface as a server with a live worker behind it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from attrs import Factory, define
from playwright.sync_api import expect, sync_playwright

import asynq
from asynq.web import create_app
from asynq.web.pages.links import TOO_LONG
from asynq.web.pages.routes import page_routes
from asynq.web.serve import bind
from tests.brokers import broker_of
from tests.browser.underneath import RedisUnderneath, SQLiteUnderneath
from tests.web.prometheus import prometheus_server, series
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from asynq import Broker
    from tests.browser.underneath import Underneath

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
LIVE_INTERVAL = 0.1
PATIENCE = 15_000
"""Milliseconds that a page may take to show what a test waits for."""


def require_chromium() -> str:
    """Path of a Chromium. Without one the test is skipped; where CI is set it fails."""
    found = next(filter(None, map(shutil.which, CHROMIUMS)), None)
    if found is None:
        reason = "no Chromium: install Debian's package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Not for longer than a module: while it is open, no asyncio test can run in this process."""
    executable = require_chromium()
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with broker_of(request, tmp_path) as broker:
        yield Store(broker)


@define
class Site:
    """A web interface that answers, and the pages of a browser that looks at it."""

    url: str
    browser: Browser
    answered: Answered
    """What the browser asked for, and got."""
    troubles: list[str] = Factory(list)
    """Errors of scripts, refused by the policy of the page or raised in it."""

    def open(self, path: str = "/", **options: Any) -> Page:
        """A page in a window of its own."""
        page = self.browser.new_context(**options).new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: self.troubles.append(f"{page.url}: {error}"))
        page.on("console", self._teller())
        page.goto(self.url + path)
        return page

    def _teller(self) -> Callable[[Any], None]:
        def told(message: Any) -> None:
            # The console repeats each status that a test asks for on purpose.
            if message.type == "error" and "status of 4" not in message.text:
                self.troubles.append(message.text)

        return told


@pytest.fixture
def settings() -> Iterator[dict[str, Any]]:
    """Settings of the web interface: with a Prometheus, and with jobs that are soon shown as such."""
    with prometheus_server() as server:
        server.body = json.dumps({"data": {"result": [series("1", "2")]}}).encode()
        yield {"prometheus_url": server.url, "job_wait": 3, "bulk_rate": 1000}


@pytest.fixture
def site(chromium: Browser, store: Store, settings: dict[str, Any]) -> Iterator[Site]:
    answered = Answered()
    with serving(store.broker, answered, **settings) as url:
        made = Site(url, chromium, answered)
        yield made
        for context in list(chromium.contexts):
            context.close()
        assert not made.troubles


class Answered:
    """The requests that were answered, and not with an error."""

    def __init__(self) -> None:
        self._requests: set[tuple[str, str]] = set()

    @property
    def pages(self) -> set[str]:
        """The paths of the routes of pages that were shown."""
        asked = [path for method, path in self._requests if method == "GET"]
        return {route.path for route in page_routes() if any(map(route.path_regex.match, asked))}

    @property
    def actions(self) -> set[str]:
        """The actions that were confirmed, or sent with a form."""
        sent = [path for method, path in self._requests if method == "POST"]
        return {path.removeprefix("/do/") for path in sent if path.startswith("/do/")}

    def listening(self, app: ASGIApp) -> ASGIApp:
        """The application, heard by this one."""

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            async def sending(message: Message) -> None:
                refusing = scope["path"] == f"/{TOO_LONG}"  # that page is an error
                if message["type"] == "http.response.start" and (message["status"] < 400 or refusing):
                    self._requests.add((scope["method"], scope["path"]))
                await send(message)

            await app(scope, receive, sending)

        return answer


@contextmanager
def serving(broker: Broker, answered: Answered, port: int = 0, **settings: Any) -> Iterator[str]:
    """A web interface that answers until the end of the block; its address."""
    app = create_app(broker, **{"live_interval": LIVE_INTERVAL, **settings})
    bound = bind("127.0.0.1", port)
    config = uvicorn.Config(
        answered.listening(app), log_config=None, log_level="warning", timeout_graceful_shutdown=1, ws="none"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def underneath(store: Store, tmp_path: Path, request: pytest.FixtureRequest) -> Underneath:
    """What the broker keeps its data in."""
    if store.broker.capabilities.backend == "redis":
        return RedisUnderneath(request.getfixturevalue("redis_server").client)
    return SQLiteUnderneath(tmp_path / "tasks.db")


@define
class LiveWorker:
    """A worker that runs beside the test."""

    release: threading.Event
    """Ends the tasks of type "wait"."""


@pytest.fixture
def worker(store: Store) -> Iterator[LiveWorker]:
    """A server of the queue "mail": tasks of type "wait" wait, those of type "fail" fail, others succeed."""
    live = LiveWorker(threading.Event())
    stop = threading.Event()

    async def handle(_: asynq.Context, task: asynq.Task) -> None:
        if task.type == "wait":
            await asyncio.to_thread(live.release.wait, 60)
        if task.type == "fail":
            raise ValueError("card declined")

    async def serve() -> None:
        server = asynq.Server(store.broker, queues={"mail": 1}, concurrency=4)
        await server.start(handle)
        await asyncio.to_thread(stop.wait)
        await server.shutdown()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield live
    live.release.set()
    stop.set()
    thread.join()
