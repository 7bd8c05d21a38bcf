"""A web interface over a broker of each kind, and a browser's requests to it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from asynq.web import create_app
from tests.brokers import KINDS, broker_of
from tests.web.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from asynq import Broker

HERE = ("127.0.0.1", 50_000)
"""Address of a client on this machine."""
LIVE_INTERVAL = 0.02


class Browser(TestClient):
    """Sends what a browser sends that has loaded a page."""

    def token(self) -> str:
        """The token of the page."""
        token: str = self.get("/api/session").json()["csrf_token"]
        return token

    def change(self, method: str, path: str, **given: Any) -> Any:
        """A request that changes something."""
        headers = {"X-CSRF-Token": self.token(), **given.pop("headers", {})}
        return self.request(method, path, headers=headers, **given)


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    with broker_of(request, tmp_path) as made:
        yield made


@pytest.fixture
def browse(broker: Broker) -> Iterator[Callable[..., Browser]]:
    """Make a browser of a web interface with these settings."""
    with ExitStack() as opened:

        def make(client: tuple[str, int] | None = HERE, host: str = "localhost", **settings: Any) -> Browser:
            app = create_app(broker, **{"live_interval": LIVE_INTERVAL, **settings})
            browser = Browser(app, base_url=f"http://{host}", client=client or ("", 0))
            return opened.enter_context(browser)

        yield make


@pytest.fixture
def browser(browse: Callable[..., Browser]) -> Browser:
    """A browser on this machine, of a web interface without authentication."""
    return browse()


@pytest.fixture
def store(broker: Broker) -> Store:
    """The tasks of the broker."""
    return Store(broker)
