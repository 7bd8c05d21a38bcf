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
    """The health of several parts together: what fails in any of them. Each part has a name for messages.

    A reason that several parts have is given once, with their names.
    """
    found: dict[str, dict[str, dict[str, None]]] = {}
    for name, part in parts:
        for check, reason in part.failing.items():
            found.setdefault(check, {}).setdefault(reason, {})[name] = None
    return Health(
        {
            check: "; ".join(_named(reason, names) for reason, names in reasons.items())
            for check, reasons in found.items()
        }
    )


def _named(reason: str, names: Iterable[str]) -> str:
    listed = ", ".join(filter(None, names))
    return f"{listed}: {reason}" if listed else reason
