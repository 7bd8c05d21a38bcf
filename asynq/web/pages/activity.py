"""What users did here, and the bulk actions under way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from asynq.web.api.audit import list_audit
from asynq.web.api.endpoint import Nothing
from asynq.web.api.errors import RequestError
from asynq.web.api.http import call_of
from asynq.web.api.jobs import OneJob, get_job, list_jobs
from asynq.web.names import decode_name
from asynq.web.pages.asking import given, path_name
from asynq.web.pages.rendering import links_of, page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from asynq.web.call import WebCall
    from asynq.web.pages.links import Address, Links


class ShownJob(OneJob, frozen=True, kw_only=True):
    """Names a job, and the page to go on to."""

    next: str = ""


async def activity_page(request: Request) -> Response:
    """The page."""
    call = call_of(request)
    stream = links_of(request)("live", "activity")
    return page(request, call, "activity.html", stream=stream, **await activity_context(call, Nothing()))


async def activity_context(call: WebCall, asked: Nothing) -> dict[str, Any]:
    """What the page shows."""
    jobs = (await list_jobs(call, asked)).jobs
    return {
        "actions": (await list_audit(call, asked)).actions,
        "jobs": [job for job in jobs if job.state == "running"],
    }


async def job_page(request: Request) -> Response:
    """How far a bulk action is."""
    call, links = call_of(request), links_of(request)
    asked = ShownJob(job_id=path_name(request, "job_id"), next=given(request).get("next", ""))
    following = following_of(links, asked.next)
    return page(
        request,
        call,
        "job.html",
        stream=links("live", "job", job_id=asked.job_id, next=asked.next),
        following=following,
        following_says=_says(links, following),
        **await job_context(call, asked),
    )


async def job_context(call: WebCall, asked: ShownJob) -> dict[str, Any]:
    """What the page shows, whatever page comes after it."""
    return {"job": await get_job(call, OneJob(job_id=asked.job_id))}


async def watched_job(call: WebCall, asked: ShownJob) -> dict[str, Any]:
    """The same while the page is watched: the job is None if the server was started anew meanwhile."""
    try:
        return await job_context(call, asked)
    except RequestError:
        return {"job": None}


def job_address(links: Links, asked: ShownJob) -> str:
    """The address of the page."""
    return links("activity", "jobs", asked.job_id, next=asked.next or None)


def following_of(links: Links, wanted: str) -> Address:
    """The page to go on to: that of the activity if it is none of ours."""
    return links.own(wanted) or links("activity")


def _says(links: Links, following: Address) -> str:
    """What a link to the next page says."""
    path = following.removeprefix(links.root_path).partition("?")[0].strip("/")
    if not path:
        return "Back to the queues"
    section, _, name = path.partition("/")
    if section == "queues" and name and "/" not in name:
        try:
            return f"Back to queue {decode_name(unquote(name))}"
        except ValueError:
            return "Back"
    return "Go to the activity" if path == "activity" else "Back"
