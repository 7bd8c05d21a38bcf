"""The routes of all pages."""

from __future__ import annotations

from starlette.routing import Route

from asynq.web.pages.actions import confirm_page, do_action
from asynq.web.pages.overview import overview_page


def page_routes() -> list[Route]:
    """From the most specific to the least."""
    return [
        Route("/", overview_page, methods=["GET"]),
        Route("/confirm/{action}", confirm_page, methods=["GET"]),
        Route("/do/{action}", do_action, methods=["POST"]),
    ]
