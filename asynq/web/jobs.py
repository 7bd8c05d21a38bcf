"""Bulk actions that go on after their request: their progress, and their end."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Literal

from attrs import define, field

from asynq.errors import AsynqError
from asynq.ids import random_id
from asynq.runtime import timeouts
from asynq.runtime.logs import get_logger
from asynq.runtime.safe_text import shown
from asynq.web.api.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from asynq.web.audit import AuditLog, Outcome

    Progress = Callable[[int], object]

log = get_logger("asynq.web")

_REMEMBERED = 100
"""Jobs that are kept after their end."""
JobState = Literal["running", "done", "failed", "stopped"]


@define
class BulkJob:
    """A bulk action."""

    id: str
    outcome: Outcome
    state: JobState = "running"
    changed: int = 0
    """Tasks so far."""
    total: int | None = None
    """Tasks that were there when it began; None if that is not known."""
    filtered: bool = False
    """Whether it changes only those of them that a filter selects."""
    error: str = ""
    failure: Exception | None = field(default=None, repr=False)
    """The error that ended it."""
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Jobs:
    """Runs bulk actions on the event loop, some at a time.

    Args:
        audit: Records their ends.
        limit: How many may be under way.
    """

    def __init__(self, audit: AuditLog, limit: int) -> None:
        self._audit = audit
        self._limit = limit
        self._jobs: OrderedDict[str, BulkJob] = OrderedDict()

    def all(self) -> list[BulkJob]:
        """Those under way and the last ones that ended, latest first."""
        return list(reversed(self._jobs.values()))

    def find(self, job_id: str) -> BulkJob | None:
        """A job by its id."""
        return self._jobs.get(job_id)

    def start(
        self,
        outcome: Outcome,
        action: Callable[[Progress], Awaitable[int]],
        *,
        total: int | None = None,
        filtered: bool = False,
    ) -> BulkJob:
        """Start a job. RequestError if there are too many.

        Args:
            outcome: What the audit will say of it.
            action: It is given what to tell its progress to, and returns the number of tasks.
            total: Tasks that are there now.
            filtered: Whether a filter selects some of them.
        """
        running = sum(job.state == "running" for job in self._jobs.values())
        if running >= self._limit:
            message = f"{running} bulk actions are under way: wait for one to end"
            raise RequestError(429, "too_many_jobs", message, {"Retry-After": "5"})
        job = BulkJob(random_id(), outcome, total=total, filtered=filtered)
        outcome.continues = True
        self._jobs[job.id] = job
        self._forget()
        job.task = asyncio.create_task(self._run(job, action))
        return job

    async def wait(self, job: BulkJob, seconds: float) -> None:
        """Wait for the end of a job, but not longer than this. With 0 it has not even begun afterwards."""
        if job.task is not None and seconds > 0:
            await timeouts.wait([job.task], seconds)

    async def stop(self, job: BulkJob) -> bool:
        """End a job after the step under way; whether that ended it. What it changed stays changed."""
        if job.task is None or job.task.done():
            return False
        job.task.cancel()
        await asyncio.wait([job.task])
        return job.state == "stopped"

    async def aclose(self) -> None:
        """Stop all jobs."""
        for job in self.all():
            await self.stop(job)

    async def _run(self, job: BulkJob, action: Callable[[Progress], Awaitable[int]]) -> None:
        def progress(changed: int) -> None:
            job.changed = job.outcome.changed = changed

        progress(0)
        try:
            progress(await action(progress))
        except asyncio.CancelledError:
            job.state = "stopped"
            self._audit.stopped(job.outcome)
        except Exception as error:
            job.state, job.error, job.failure = "failed", shown(error), error
            self._audit.failed(job.outcome, error)
            if not isinstance(error, AsynqError | ValueError):
                log.exception("error in the bulk action %r", job.outcome.what)
        else:
            job.state = "done"
            self._audit.ended(job.outcome)

    def _forget(self) -> None:
        ended = [job.id for job in self._jobs.values() if job.state != "running"]
        for job_id in ended[: max(len(ended) - _REMEMBERED, 0)]:
            del self._jobs[job_id]
