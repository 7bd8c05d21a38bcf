"""The parts of pages that are live: each is rendered of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from asynq.web.pages.overview import overview_fragment

if TYPE_CHECKING:
    from asynq.web.live import LiveSnapshot
    from asynq.web.pages.links import Links


class Fragment(Protocol):
    """Renders a part of a page."""

    def __call__(self, snapshot: LiveSnapshot, links: Links, *, operates: bool) -> str:
        """The HTML. It depends on nothing else, so that all browsers with these links and rights share it."""
        ...


FRAGMENTS: dict[str, Fragment] = {"overview": overview_fragment}
"""By name, as in /live/NAME; the event has the same name."""
