"""The pages, judged by axe-core: no finding, in light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe

from asynq import Task
from asynq.scheduler.schedules import Schedules
from tests.web.store import STATES

if TYPE_CHECKING:
    from tests.browser.conftest import Site
    from tests.web.store import Store

PAGES = [
    *(
        "/",
        "/servers",
        "/schedules",
        "/schedules/edit",
        "/broker",
        "/broker/doctor",
        "/activity",
        "/search?id=a",
    ),
    *(f"/queues/mail?state={state}" for state in (*STATES, "aggregating")),
    *("/queues/mail/errors", "/queues/mail/tasks/archived", "/queues/mail/tasks/archived/edit"),
    *("/confirm/delete_queue?queue=mail", "/confirm/run_all_tasks?queue=mail&state=retry", "/nope"),
]


RULES: dict[str, Any] = {"light": {}, "dark": {"runOnly": ["color-contrast"]}}
"""What depends on the theme is the contrast of colours alone."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_has_a_finding(site: Site, store: Store, theme: Literal["light", "dark"]) -> None:
    store.one_of_each()
    Schedules(store.broker).set("nightly", "@daily", Task("t"))
    # The policy of the pages would refuse the script of the check, too.
    page = site.open(color_scheme=theme, bypass_csp=True)
    for path in PAGES:
        page.goto(site.url + path)
        found = Axe().run(page, options=RULES[theme])
        assert found.response["passes"], path
        assert not found.response["violations"], f"{path}: {found.generate_report()}"
