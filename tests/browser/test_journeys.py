"""Every page is visited and every action is clicked, beside a live worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from asynq.web.api.table import ENDPOINTS
from asynq.web.pages.routes import page_routes
from tests.browser.journeys import JOURNEYS, Operator

if TYPE_CHECKING:
    from tests.browser.conftest import LiveWorker, Site
    from tests.browser.underneath import Underneath
    from tests.web.store import Store

WITHOUT_CONTROL: dict[str, str] = {}
"""Actions of the API that no page offers, and why."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("store", ["sqlite", "redis"], indirect=True)
def test_every_page_is_visited_and_every_action_is_clicked(
    site: Site, store: Store, worker: LiveWorker, underneath: Underneath
) -> None:
    operator = Operator(site.open(), site.url, store, worker, underneath)
    for journey in JOURNEYS:
        journey(operator)
    pages = {route.path for route in page_routes() if "GET" in (route.methods or ())}
    assert pages - site.answered.pages == set()
    actions = {name for name, each in ENDPOINTS.items() if each.changes}
    assert actions - site.answered.actions == WITHOUT_CONTROL.keys()
