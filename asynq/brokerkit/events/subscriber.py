"""Who receives events and changes: a listener or a watcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from asynq.protocol.broker import Event


class Subscriber(Protocol):
    """Receives events and changes. Its methods may be called on any thread and must not block."""

    @property
    def armed(self) -> bool:
        """Whether it wants wake-ups of queues."""
        ...

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for what it reports. Cancellations alone are not urgent."""
        ...

    def on_change(self) -> None:
        """Any task may have changed."""
        ...

    def on_events(self, events: Iterable[Event]) -> None:
        """Events happened, for any queues."""
        ...
