"""What users did here, and the bulk actions under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from asynq.web.api.audit import list_audit
from asynq.web.api.endpoint import Nothing
from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of
from asynq.web.api.jobs import OneJob, get_job, list_jobs
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.rendering import links_of, page, wants_part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def activity_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    jobs = (await list_jobs(call, Nothing())).jobs
    return page(
        request,
        call,
        "activity.html",
        actions=(await list_audit(call, Nothing())).actions,
        jobs=[job for job in jobs if job.state == "running"],
    )


async def job_page(request: Request) -> Response:
    """How far a bulk action is. The page asks again until it has ended."""
    call = call_of(request)
    job_id = path_name(request, "job_id")
    try:
        job = await get_job(call, OneJob(job_id=job_id))
    except RequestError:
        if not wants_part(request):
            raise
        job = None  # the page of a job asks, and the server was started anew: that ends the asking
    links = links_of(request)
    following = given(request).get("next", "")
    following = following if links.is_own(following) else links("activity")
    template = "parts/job.html" if wants_part(request) else "job.html"
    return page(request, call, template, job=job, following=following)
