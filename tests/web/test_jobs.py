"""Bulk actions that go on after their answer: their progress, and stopping them."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from asynq import MemoryBroker
from asynq.web.audit import AuditLog, Outcome
from asynq.web.jobs import BulkJob, Jobs
from tests.web.test_pages import Parsed, text_of, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.web.conftest import Browser


@pytest.fixture
def broker() -> Iterator[MemoryBroker]:
    made = MemoryBroker()
    yield made
    made.close()


async def test_what_is_stopped_has_not_failed() -> None:
    audit = AuditLog(10, lambda: datetime.now(UTC))
    jobs = Jobs(audit, limit=1)
    begun = asyncio.Event()

    async def action(progress: Callable[[int], object]) -> int:
        progress(4)
        begun.set()
        await asyncio.Event().wait()
        return 0

    job = jobs.start(Outcome("local", "delete_all_tasks", "delete"), action, total=9)
    await begun.wait()
    assert await jobs.stop(job)
    assert not await jobs.stop(job), "it has ended"
    [entry] = audit
    assert (entry.end, entry.error, entry.outcome.changed) == ("stopped", "", 4)
    assert (job.state, job.error) == ("stopped", "")


def test_a_job_is_stopped_at_once_and_one_that_has_ended_is_not(browser: Browser) -> None:
    async def action(progress: Callable[[int], object]) -> int:
        progress(4)
        await asyncio.Event().wait()
        return 0

    async def start() -> BulkJob:
        app: Any = browser.app
        outcome = Outcome("local", "delete_all_tasks", "delete all")
        made: BulkJob = app.state.web.jobs.start(outcome, action, total=9)
        await asyncio.sleep(0)  # lets it begin
        return made

    assert browser.portal is not None
    job = browser.portal.call(start)
    page = visit(browser, f"/activity/jobs/{job.id}?next=/queues/mail")
    assert 'value="4" max="9"' in page
    assert ": 4 of 9 tasks so far." in text_of(page)
    form = Parsed(page)
    stopped = browser.post(form.action, data=form.fields).text
    assert "Done: stop: delete all." in text_of(stopped)
    assert ": 4 of 9 tasks." in text_of(stopped)
    assert ">Back to queue mail</a>" in stopped
    assert "stop_job" not in stopped
    late = browser.post(form.action, data=form.fields).text
    assert "It had ended already: 4 tasks. Stop: delete all." in text_of(late)
    assert [each["end"] for each in browser.get("/api/audit").json()["actions"]] == [
        "unchanged",
        "done",
        "stopped",
    ]
    listed = visit(browser, "/activity")
    assert "CancelledError" not in listed
    assert listed.count('<span class="state retry">') == 2
