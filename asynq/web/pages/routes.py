"""The routes of all pages."""

from __future__ import annotations

from starlette.routing import Route

from asynq.web.pages.actions import confirm_page, do_action
from asynq.web.pages.activity import activity_page, job_page
from asynq.web.pages.broker import broker_page, doctor_page
from asynq.web.pages.error_groups import error_groups_page
from asynq.web.pages.errors import too_long_page
from asynq.web.pages.links import TOO_LONG
from asynq.web.pages.overview import overview_page
from asynq.web.pages.queue import queue_page
from asynq.web.pages.schedules import edit_schedule_page, last_runs_page, schedules_page
from asynq.web.pages.series import series_page
from asynq.web.pages.servers import servers_page
from asynq.web.pages.task import edit_task_page, search_page, task_page

_PAGES = {
    "/": overview_page,
    "/search": search_page,
    "/queues/{queue}": queue_page,
    "/queues/{queue}/errors": error_groups_page,
    "/queues/{queue}/tasks/{task_id}": task_page,
    "/queues/{queue}/tasks/{task_id}/edit": edit_task_page,
    "/servers": servers_page,
    "/schedules": schedules_page,
    "/schedules/edit": edit_schedule_page,
    "/schedules/runs/{entry_id}": last_runs_page,
    "/broker": broker_page,
    "/broker/doctor": doctor_page,
    "/charts": series_page,
    "/activity": activity_page,
    "/activity/jobs/{job_id}": job_page,
    "/confirm/{action}": confirm_page,
    f"/{TOO_LONG}": too_long_page,
}


def page_routes() -> list[Route]:
    """One for each page, and one for all forms."""
    pages = [Route(path, answer, methods=["GET"]) for path, answer in _PAGES.items()]
    return [*pages, Route("/do/{action}", do_action, methods=["POST"])]
