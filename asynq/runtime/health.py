"""`Health`: how a server, a scheduler or several worker processes do at one instant."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - msgspec reads the annotations
from datetime import timedelta
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LOOP_LAG = timedelta(seconds=30)
"""How long an event loop may be blocked until it counts as stuck, by default."""

STARTED, DRAINING, LOOP, BROKER = "started", "draining", "loop", "broker"
"""The checks."""


class Health(Struct, frozen=True):
    """How a server does at one instant."""

    failing: Mapping[str, str] = {}
    """Why checks fail, by the name of the check: "started", "draining", "loop" or "broker"."""

    @property
    def live(self) -> bool:
        """Whether the event loop is not stuck. A restart may help otherwise."""
        return LOOP not in self.failing

    @property
    def ready(self) -> bool:
        """Whether it takes tasks: no check fails."""
        return not self.failing


def combined(parts: Iterable[tuple[str, Health]]) -> Health:
    """The health of several parts together: what fails in any of them. Each part has a name for messages."""
    failing: dict[str, str] = {}
    for name, part in parts:
        for check, reason in part.failing.items():
            told = f"{name}: {reason}" if name else reason
            failing[check] = f"{failing[check]}; {told}" if check in failing else told
    return Health(failing)
