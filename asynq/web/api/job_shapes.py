"""A bulk action, as the API describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

if TYPE_CHECKING:
    from asynq.web.jobs import BulkJob


class JobItem(Struct, kw_only=True):
    """A bulk action."""

    id: str
    user: str
    what: str
    state: Literal["running", "done", "failed", "stopped"]
    changed: int
    """Tasks so far."""
    total: int | None
    """Tasks that were there when it began; null if that is not known."""
    filtered: bool
    """Whether it changes only those of them that a filter selects: it looks at all."""
    error: str


def job_item(job: BulkJob) -> JobItem:
    """The shape of a job."""
    return JobItem(
        id=job.id,
        user=job.outcome.user,
        what=job.outcome.what,
        state=job.state,
        changed=job.changed,
        total=job.total,
        filtered=job.filtered,
        error=job.error,
    )
